#!/usr/bin/env nextflow
// Aligns imaging rounds: `nextflow run main.nf --help` says how.

include { REGISTER } from './subworkflows/register.nf'
include { readPairs } from './subworkflows/pairs.nf'
include { asBoolean ; checkParameters ; helpText } from './subworkflows/parameters.nf'

workflow {
    main:
    if (asBoolean(params.help)) {
        println(helpText(params))
    }
    else if (asBoolean(params.version)) {
        println("teralign ${workflow.manifest.version}")
    }
    else {
        checkParameters(params)
        def pairs = readPairs(params)
        log.info(summary(pairs, params))
        REGISTER(pairs, settings(params, workflow))
        channel.topic('versions')
            .unique()
            .map { process, tool, version -> "${process.tokenize(':')[-1]}: ${tool} ${version}" }
            .collectFile(name: 'versions.txt', storeDir: "${params.outdir}/pipeline_info", newLine: true, sort: true)

        workflow.onComplete = {
            if (workflow.success) {
                log.info("Results: ${file(params.outdir)}")
            }
        }
    }
}

def settings(parameters, run) {
    def helpers = asBoolean(parameters.use_bigstream) && parameters.bigstream_cluster == 'nextflow' && !parameters.dask_scheduler
    [
        global_steps: steps(parameters.bigstream_global_steps),
        local_steps: steps(parameters.bigstream_local_steps),
        blocks: [
            parameters.bigstream_block_size ? "--block-size ${parameters.bigstream_block_size}" : '',
            parameters.bigstream_block_overlap != null ? "--block-overlap ${parameters.bigstream_block_overlap}" : '',
        ].join(' ').trim(),
        config: parameters.bigstream_config,
        workers: helpers ? parameters.bigstream_workers.toString().toInteger() : 0,
        dask_dir: "${run.workDir}/dask/${run.sessionId}".toString(),
    ]
}

def steps(text) {
    (text ?: '').replaceAll(/\s/, '')
}

def summary(pairs, parameters) {
    def lines = pairs.take(10).collect { pair ->
        "${pair.id}: ${pair.moving.path} onto ${pair.fixed.path}; global ${pair.fixed.global}, local ${pair.fixed.local}, warped ${pair.fixed.apply}"
    }
    def more = pairs.size() > 10 ? ["and ${pairs.size() - 10} more"] : []
    def cluster = parameters.dask_scheduler ? "the Dask cluster at ${parameters.dask_scheduler}"
        : !asBoolean(parameters.use_bigstream) ? "each task's own cores"
        : "${parameters.bigstream_workers} Dask workers a pair, ${parameters.bigstream_worker_cpus} cpus and ${parameters.bigstream_worker_mem_gb} GB each"
    (lines + more + ["Computing on ${cluster}; results in ${parameters.outdir}"]).join('\n')
}
