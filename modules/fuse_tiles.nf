include { word } from '../subworkflows/shell.nf'

// Writes the tiles as one volume block by block, as the driver of a Dask cluster that others may join in `dir`.
process FUSE_TILES {
    tag "${meta.id}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), val(call), val(dir), path(tiles), path(flatfield), path(source, stageAs: 'source/*')
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta), path("${meta.id}/${call.output}"), emit: stitched
    val dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    run-on-dask ${word(dir)} ${task.cpus} ${task.memory.toMega()} fuse-tiles \\
        "\$PWD"/${tiles} "\$PWD/${meta.id}/${call.output}" \\
        ${flatfield ? "--flatfield \"\$PWD\"/${flatfield}" : ''} ${args} \\
        --work-dir ${word("${dir}/blocks")}
    """

    stub:
    """
    mkdir -p ${meta.id}/${call.output}
    """
}
