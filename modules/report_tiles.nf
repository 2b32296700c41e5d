// Judges how a round was stitched, and shows its seams.
process REPORT_TILES {
    tag "${meta.id}"
    label 'whole_volume'

    input:
    tuple val(meta), path(solved), path(pairs), path(flatfield), path(source, stageAs: 'source/*')

    output:
    tuple val(meta), path("${meta.id}/stitching"), emit: report
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    report-tiles ${solved} ${pairs} ${meta.id}/stitching --name "${meta.id}" ${flatfield ? "--flatfield ${flatfield}" : ''} ${args}
    """

    stub:
    """
    mkdir -p ${meta.id}/stitching
    touch ${meta.id}/stitching/index.html ${meta.id}/stitching/report.json
    """
}
