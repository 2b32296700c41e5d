// Lists the reports of all pairs on one page, with what the tasks took if Nextflow writes its trace.
process INDEX_REPORTS {
    input:
    val ids
    path reports, stageAs: '.reports/?/*'
    path rounds
    path trace
    val title

    output:
    path 'index.html', emit: page
    path 'index.json', emit: table
    path 'teralign_mqc.json', emit: multiqc
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    def links = ids.withIndex(1).collect { id, number -> "mkdir -p '${id}'; ln -s \"\$PWD/.reports/${number}/report\" '${id}/report'" }
    """
    ${links.join('\n    ')}
    index-reports . --title '${title}' ${trace ? "--trace ${trace}" : ''} ${args}
    """

    stub:
    """
    touch index.html index.json teralign_mqc.json
    """
}
