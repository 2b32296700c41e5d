// Judges how a round was stitched, and shows its seams. A round that misses the limit (exit code 6) is no failure of this task:
// the report says so, and the run fails when all is done.
process REPORT_TILES {
    tag "${meta.id}"
    label 'whole_volume'

    input:
    tuple val(meta), val(call), path(solved), path(pairs), path(flatfield), path(refinement), path(source, stageAs: 'source/*')

    output:
    tuple val(meta), path("${meta.id}/stitching"), emit: report
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    report-tiles ${solved} ${pairs} ${meta.id}/stitching --name "${meta.id}" --channel ${call.channel} \\
        ${flatfield ? "--flatfield ${flatfield}" : ''} ${refinement ? "--refinement ${refinement}" : ''} ${args} || [ \$? -eq 6 ]
    """

    stub:
    """
    mkdir -p ${meta.id}/stitching
    touch ${meta.id}/stitching/index.html ${meta.id}/stitching/report.json
    """
}
