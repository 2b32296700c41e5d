include { word } from '../subworkflows/shell.nf'

// Lists the reports of all pairs on one page, with what the tasks took if Nextflow writes its trace, and adds to each report
// the tasks of its pair and the command of the run (`run`: command and parameters). `failed` are pairs without a report.
process INDEX_REPORTS {
    cache false // the trace and the command of another run are others

    input:
    val ids
    path reports, stageAs: '.reports/?/*'
    path rounds
    path trace
    val title
    val failed
    val run

    output:
    path 'index.html', emit: page
    path 'index.json', emit: table
    path 'teralign_mqc.json', emit: multiqc
    path '*/report/{index.html,report.json}', emit: reports
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    def links = ids.withIndex(1).collect { id, number -> "mkdir -p '${id}/report'; ln -s \"\$PWD/.reports/${number}/report\"/* '${id}/report'" }
    def lacking = failed.collect { id -> "--without-report '${id}'" }.join(' ')
    """
    ${links.join('\n    ')}
    cat > .run.json << 'END OF RUN'
    ${groovy.json.JsonOutput.toJson(run)}
    END OF RUN
    index-reports . --title ${word(title)} ${trace ? "--trace ${trace}" : ''} --workflow .run.json --complete ${lacking} ${args}
    """

    stub:
    """
    mkdir -p stub/report
    touch stub/report/index.html stub/report/report.json
    touch index.html index.json teralign_mqc.json
    """
}
