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
    def seed = "--seed ${parameters.seed}"
    [
        global_options: joined([steps(parameters.bigstream_global_steps), option('ome-zarr', parameters.ome_zarr), seed]),
        local_options: joined([
            steps(parameters.bigstream_local_steps),
            option('block-size', parameters.bigstream_block_size),
            option('block-overlap', parameters.bigstream_block_overlap),
            option('field-spacing', parameters.bigstream_field_spacing),
            seed,
        ]),
        apply_options: option('ome-zarr', parameters.ome_zarr),
        config: parameters.bigstream_config,
        cluster: clusterOf(parameters),
        warped_dir: parameters.warped_dir,
        dask_dir: "${run.workDir}/dask/${run.sessionId}".toString(),
    ]
}

def steps(text) {
    option('steps', (text ?: '').replaceAll(/\s/, ''))
}

def joined(options) {
    options.findAll { option -> option }.join(' ')
}

def option(name, value) {
    value in [null, ''] ? '' : "--${name} ${value}"
}

// How many workers a driver has itself: so many, as many as fit ('cores'), or none where it is the scheduler of another
// cluster; and how many tasks join them. configs/base.config gives the driver the cores for its own.
def clusterOf(parameters) {
    def mode = parameters.bigstream_cluster == 'auto' ? parameters.bigstream_cluster_auto : parameters.bigstream_cluster
    def workers = parameters.bigstream_workers.toString().toInteger()
    parameters.dask_scheduler ? [own: parameters.dask_scheduler, helpers: 0]
        : !asBoolean(parameters.use_bigstream) ? [own: 'cores', helpers: 0]
        : mode == 'nextflow' ? [own: '1', helpers: workers]
        : [own: "${workers}".toString(), helpers: 0]
}

def summary(pairs, parameters) {
    def lines = pairs.take(10).collect { pair ->
        "${pair.id}: ${pair.moving.address ?: pair.moving.path} onto ${pair.fixed.address ?: pair.fixed.path}; global ${pair.fixed.global}, local ${pair.fixed.local}, warped ${pair.moving.apply} on ${pair.fixed.apply}"
    }
    def more = pairs.size() > 10 ? ["and ${pairs.size() - 10} more"] : []
    def each = "${parameters.bigstream_worker_cpus} cpus and ${parameters.bigstream_worker_mem_gb} GB each"
    def cluster = clusterOf(parameters)
    def computer = parameters.dask_scheduler ? "the Dask cluster at ${cluster.own}"
        : cluster.own == 'cores' ? "each task's own cores"
        : cluster.helpers ? "1 Dask worker in each task with blocks and ${cluster.helpers} more that join it, ${each}"
        : "${cluster.own} Dask workers in each task with blocks, ${each}"
    (lines + more + ["Computing on ${computer}; results in ${parameters.outdir}"]).join('\n')
}
