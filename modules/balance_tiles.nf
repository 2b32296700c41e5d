include { word } from '../subworkflows/shell.nf'

// Finds the gain of each tile from the overlaps, as the driver of a Dask cluster that others may join in `dir`.
process BALANCE_TILES {
    tag "${meta.id}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(meta), val(call), val(dir), path(solved), path(flatfield), path(source, stageAs: 'source/*')
    path anchor, stageAs: 'dask/*'

    output:
    tuple val(meta), path("${meta.id}/balanced.json"), emit: balanced
    val dir, emit: finished
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    run-on-dask ${word(dir)} ${task.cpus} ${task.memory.toMega()} balance-tiles \\
        "\$PWD"/${solved} "\$PWD/${meta.id}/balanced.json" \\
        ${flatfield ? "--flatfield \"\$PWD\"/${flatfield}" : ''} ${args} \\
        --work-dir ${word("${dir}/blocks")}
    """

    stub:
    """
    mkdir -p ${meta.id}
    touch ${meta.id}/balanced.json
    """
}
