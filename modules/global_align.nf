// Aligns a pair of volumes at the coarse scale, whole and in memory, from the transforms that it starts from.
process GLOBAL_ALIGN {
    tag "${meta.id}"
    label 'whole_volume'

    input:
    tuple val(meta), val(call), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(fixed_mask, stageAs: 'fixed_mask/*'), path(moving_mask, stageAs: 'moving_mask/*'), path(start, stageAs: 'start/?/*')
    path config, stageAs: 'config.yml'

    output:
    tuple val(meta), path("${meta.id}/${call.output}"), emit: transform
    tuple val(meta), path("${meta.id}/aligned.zarr"), emit: aligned
    tuple val(meta), path("${meta.id}/affine.json"), emit: metrics
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    def starts = [start].flatten().collect { file -> "--initial-transform ${file}" }.join(' ')
    """
    export TERALIGN_INPUT_NAMES=${call.names}
    mkdir -p ${meta.id}
    global-align \\
        --fixed ${call.fixed} \\
        --moving ${call.moving} \\
        ${starts} ${call.options} ${args} \\
        --config ${config} \\
        --output ${meta.id}/${call.output} \\
        --aligned ${meta.id}/aligned.zarr \\
        --threads ${task.cpus}
    """

    stub:
    """
    mkdir -p ${meta.id}/aligned.zarr
    touch ${meta.id}/${call.output} ${meta.id}/affine.json
    """
}
