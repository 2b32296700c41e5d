include { word } from '../subworkflows/shell.nf'

// Reads where a microscope's tiles lie. The tiles keep their own paths, so that the result holds outside of the task too; the
// source is staged so that a container engine mounts it.
process IMPORT_TILES {
    tag "${meta.id}"

    input:
    tuple val(meta), val(call), path(source, stageAs: 'source/*')

    output:
    tuple val(meta), path("${meta.id}/tiles.json"), emit: tiles
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    import-tiles ${word(call.source)} ${meta.id}/tiles.json ${call.options} ${args}
    """

    stub:
    """
    mkdir -p ${meta.id}
    touch ${meta.id}/tiles.json
    """
}
