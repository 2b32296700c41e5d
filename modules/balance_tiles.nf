// Finds the gain of each tile from the overlaps.
process BALANCE_TILES {
    tag "${meta.id}"
    label 'whole_volume'

    input:
    tuple val(meta), path(solved), path(flatfield), path(source, stageAs: 'source/*')

    output:
    tuple val(meta), path("${meta.id}/balanced.json"), emit: balanced
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    balance-tiles ${solved} ${meta.id}/balanced.json ${flatfield ? "--flatfield ${flatfield}" : ''} ${args}
    """

    stub:
    """
    mkdir -p ${meta.id}
    touch ${meta.id}/balanced.json
    """
}
