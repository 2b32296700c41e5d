include { word } from '../subworkflows/shell.nf'

// Writes the tiles as one volume block by block, as the driver of a Dask cluster that others may join in `dir`. Where the
// volume is written to an address, a JSON file in its place says so.
process FUSE_TILES {
    tag "${meta.id}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), val(call), val(dir), path(tiles), path(flatfield), path(refinement), path(source, stageAs: 'source/*')
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta), path("${meta.id}/${call.output}"), emit: stitched
    val dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    def result = "\$PWD/${meta.id}/${call.output}"
    def output = call.address ? "${word(call.address)} --overwrite > \"${result}\"" : "\"${result}\""
    """
    mkdir -p ${meta.id}
    run-on-dask ${word(dir)} ${task.cpus} ${task.memory.toMega()} fuse-tiles \\
        "\$PWD"/${tiles} \\
        ${flatfield ? "--flatfield \"\$PWD\"/${flatfield}" : ''} ${refinement ? "--refinement \"\$PWD\"/${refinement}" : ''} ${args} \\
        --work-dir ${word("${dir}/blocks")} \\
        ${output}
    """

    stub:
    """
    mkdir -p ${meta.id}/${call.output}
    """
}
