include { word } from '../subworkflows/shell.nf'

// Finds the shift between each two tiles that overlap, as the driver of a Dask cluster that others may join in `dir`.
process ALIGN_TILES {
    tag "${meta.id}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), val(call), val(dir), path(tiles), path(source, stageAs: 'source/*')
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta), path("${meta.id}/pairs.json"), emit: pairs
    val dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    run-on-dask ${word(dir)} ${task.cpus} ${task.memory.toMega()} align-tiles \\
        "\$PWD"/${tiles} "\$PWD/${meta.id}/pairs.json" \\
        --channel ${call.channel} ${args} \\
        --work-dir ${word("${dir}/blocks")}
    """

    stub:
    """
    mkdir -p ${meta.id}
    touch ${meta.id}/pairs.json
    """
}
