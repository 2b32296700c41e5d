// Measures how consistent the rounds of a run are with one another, from their transforms; on demand from their images.
process COMPARE_ROUNDS {
    label 'whole_volume'

    input:
    tuple val(call), path(volumes, stageAs: 'volumes/?/*'), path(transforms, stageAs: 'transforms/?/*')

    output:
    path "${call.report}", emit: report
    path 'rounds/triangles', emit: maps, optional: true
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    export TERALIGN_INPUT_NAMES=${call.names}
    printf '%s\\n' ${call.table} > table.csv
    teralign compare-rounds table.csv ${args} --output ${call.report} --maps rounds/triangles
    """

    stub:
    """
    touch ${call.report}
    """
}
