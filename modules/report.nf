// Draws the pair before and after alignment at the coarse scale, and collects the metrics.
process REPORT {
    tag "${meta.id}"
    label 'whole_volume'

    input:
    tuple val(meta), path(fixed, stageAs: 'fixed/*'), path(moving, stageAs: 'moving/*'), path(affine), path(field), path(blocks)

    output:
    tuple val(meta.id), path("${meta.id}/report"), emit: report
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    """
    mkdir -p ${meta.id}
    teralign report \\
        --fixed "${meta.fixed}" \\
        --moving "${meta.moving}" \\
        --transform ${affine} \\
        --transform ${field} \\
        --blocks ${blocks} \\
        ${meta.options} \\
        --output-dir ${meta.id}/report
    """

    stub:
    """
    mkdir -p ${meta.id}/report
    touch ${meta.id}/report/metrics.json
    """
}
