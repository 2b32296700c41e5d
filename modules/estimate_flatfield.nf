// Estimates the uneven light of a microscope from its tiles.
process ESTIMATE_FLATFIELD {
    tag "${meta.id}"
    label 'whole_volume'

    input:
    tuple val(meta), path(tiles), path(source, stageAs: 'source/*')

    output:
    tuple val(meta), path("${meta.id}/flatfield.npz"), emit: flatfield
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    estimate-flatfield ${tiles} ${meta.id}/flatfield.npz ${args}
    """

    stub:
    """
    mkdir -p ${meta.id}
    touch ${meta.id}/flatfield.npz
    """
}
