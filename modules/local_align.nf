include { word } from '../subworkflows/shell.nf'

// Refines the alignment of a pair block by block, as the driver of a Dask cluster that others may join in `dir`.
process LOCAL_ALIGN {
    tag "${meta.id}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), val(call), val(dir), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(fixed_mask, stageAs: 'fixed_mask/*'), path(moving_mask, stageAs: 'moving_mask/*'), path(start)
    path config, stageAs: 'config.yml'
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta), path("${meta.id}/transform.zarr"), path("${meta.id}/transform.blocks.json"), emit: transform
    tuple val(meta), path("${meta.id}/transform.error.zarr"), emit: error, optional: true
    val dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    export TERALIGN_INPUT_NAMES=${call.names}
    mkdir -p ${meta.id}
    run-on-dask ${word(dir)} ${task.cpus} ${task.memory.toMega()} local-align \\
        --fixed ${call.fixed} \\
        --moving ${call.moving} \\
        --initial-transform "\$PWD"/${start} \\
        ${call.options} ${args} \\
        --config "\$PWD"/${config} \\
        --work-dir ${word("${dir}/blocks")} \\
        --output "\$PWD/${meta.id}/transform.zarr"
    """

    stub:
    """
    mkdir -p ${meta.id}/transform.zarr
    touch ${meta.id}/transform.blocks.json
    """
}
