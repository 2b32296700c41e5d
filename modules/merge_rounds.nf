include { word } from '../subworkflows/shell.nf'

// Writes the channels of all rounds of a fixed volume as one, warped block by block on the workers of the task.
process MERGE_ROUNDS {
    tag "${call.output}"
    label 'dask_driver'
    scratch false

    input:
    tuple val(call), val(dir), path(volumes, stageAs: 'volumes/?/*'), path(transforms, stageAs: 'transforms/?/*')
    path anchor, stageAs: 'dask/*'

    output:
    path "rounds/${call.output}", emit: merged
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    export TERALIGN_INPUT_NAMES=${call.names}
    mkdir -p rounds
    printf '%s\\n' ${call.table} > table.csv
    run-on-dask ${word(dir)} ${task.cpus} ${task.memory.toMega()} teralign merge-rounds \\
        "\$PWD/table.csv" "\$PWD/rounds/${call.output}" ${args} --work-dir ${word("${dir}/blocks")}
    """

    stub:
    """
    mkdir -p rounds/${call.output}
    """
}
