// Finds where all tiles lie, from the shifts between those that overlap.
process SOLVE_TILES {
    tag "${meta.id}"

    input:
    tuple val(meta), path(tiles), path(pairs)

    output:
    tuple val(meta), path("${meta.id}/solved.json"), emit: solved
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    solve-tiles ${tiles} ${pairs} ${meta.id}/solved.json ${args}
    """

    stub:
    """
    mkdir -p ${meta.id}
    touch ${meta.id}/solved.json
    """
}
