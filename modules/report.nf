// Draws the pair before and after alignment at the coarse scale, and collects the metrics.
process REPORT {
    tag "${meta.id}"
    label 'whole_volume'

    input:
    tuple val(meta), val(call), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(transforms, stageAs: 'transforms/?/*'), path(blocks), path(steps)

    output:
    tuple val(meta), path("${meta.id}/report"), emit: report
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    def listed = [transforms].flatten().collect { file -> "--transform ${file}" } + [blocks].flatten().collect { file -> "--blocks ${file}" }
    listed += [steps].flatten().collect { file -> "--global-report ${file}" }
    """
    export TERALIGN_INPUT_NAMES=${call.names}
    mkdir -p ${meta.id}
    teralign report \\
        --fixed "${call.fixed}" \\
        --moving "${call.moving}" \\
        ${listed.join(' ')} \\
        ${call.options} ${args} \\
        --output-dir ${meta.id}/report
    """

    stub:
    """
    mkdir -p ${meta.id}/report
    touch ${meta.id}/report/metrics.json
    """
}
