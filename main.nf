#!/usr/bin/env nextflow
// Aligns imaging rounds: bin/pipeline-help lists the parameters.

include { STITCH } from './subworkflows/stitch.nf'
include { REGISTER } from './subworkflows/register.nf'
include { DASK_CLUSTER } from './subworkflows/dask_cluster.nf'
include { writeAnchor } from './subworkflows/dask_directories.nf'
include { VERDICT } from './modules/verdict.nf'
include { describe ; describeRound ; readPairs ; readRounds ; readStitchedPairs } from './subworkflows/pairs.nf'
include { asBoolean ; checkParameters ; helpText ; isGiven ; networkOptions } from './subworkflows/parameters.nf'
include { showLife } from './subworkflows/head.nf'
include { followDrivers } from './subworkflows/progress.nf'
include { failedRows ; lastLines ; readOutcome ; reportOf ; roundLines ; stitchingOf } from './subworkflows/verdicts.nf'

workflow {
    main:
    if (asBoolean(params.help)) {
        println(helpText())
    }
    else if (asBoolean(params.version)) {
        println("teralign ${workflow.manifest.version}")
    }
    else {
        checkParameters(params)
        def tiled = params.workflow == 'stitch'
        def rounds = tiled ? readRounds(params, workflow.launchDir, workflow.containerEngine) : []
        def pairs = tiled ? [] : readPairs(params, workflow.launchDir, workflow.containerEngine)
        def cluster = clusterOf(params)
        def listed = rounds.collect { round -> describeRound(round) } + pairs.collect { pair -> describe(pair) }
        log.info((firstLines(listed) + ["Computing on ${computer(cluster, params)}; results in ${params.outdir}"]).join('\n'))
        def run = [started: workflow.start.toInstant().toEpochMilli(), work: workflow.workDir]
        // Tasks share a work directory that is a folder. Of one in a bucket each has a copy of its own files, and no more.
        def shared = workflow.workDir.fileSystem == java.nio.file.FileSystems.default
        if (!shared && cluster.helpers > 0) {
            error("Workers as tasks of their own meet their driver in the work directory, and ${workflow.workDir.toUriString()} is no folder: give --bigstream_cluster local, or a -work-dir that all machines mount.")
        }
        def dask_dir = shared ? "${workflow.workDir}/dask/${workflow.sessionId}".toString() : 'dask'
        def anchor = writeAnchor(dask_dir)
        def clocks = shared ? [
            followDrivers(dask_dir, params.progress_seconds.toString().toInteger()),
            showLife("${workflow.workDir}/dask", workflow.runName),
        ] : []
        STITCH(
            rounds,
            [
                cluster: cluster,
                dask_dir: dask_dir,
                anchor: anchor,
                flatfield: asBoolean(params.flatfield),
                balance: asBoolean(params.balance_tiles),
                refine: asBoolean(params.tile_refinement),
                output: "stitched.${params.stitched_format}".toString(),
                stitched_dir: params.stitched_dir,
            ],
        )
        // Pairs of stitched rounds can be looked up only when all of these are there.
        aligned = !tiled ? channel.value(pairs) : STITCH.out.stitched.toList().map { found ->
            pairs.addAll(readStitchedPairs(params, found, workflow.launchDir, workflow.containerEngine))
            log.info(firstLines(pairs.collect { pair -> describe(pair) }).join('\n'))
            pairs
        }
        REGISTER(
            aligned,
            [
                config: params.bigstream_config,
                cluster: cluster,
                warped_dir: params.warped_dir,
                merge_rounds: asBoolean(params.merge_rounds),
                dask_dir: dask_dir,
                anchor: anchor,
                outdir: params.outdir,
                started: run.started,
                run: [command: workflow.commandLine, parameters: params.findAll { _name, value -> !(value in [null, '']) }.collectEntries { name, value -> [name, value.toString()] }],
            ],
        )
        if (cluster.helpers > 0) {
            DASK_CLUSTER(STITCH.out.drivers.mix(REGISTER.out.drivers), STITCH.out.finished.mix(REGISTER.out.finished), cluster.helpers, anchor)
        }
        // After the last task, so that a pair that is bad takes nothing from the others.
        outcomes = REGISTER.out.reports.map { meta, folder -> readOutcome(meta.id, folder, reportOf(meta.id, params.outdir)) }
        seams = STITCH.out.reports.map { meta, folder -> readOutcome(meta.id, folder, stitchingOf(meta.id, params.outdir)) }
        failures = REGISTER.out.results.count()
            .combine(outcomes.toList().map { found -> [found] })
            .combine(seams.toList().map { found -> [found] })
            .map { _count, found, joined -> failedRows(rounds, joined, run) + failedRows(pairs, found, run) }
            .filter { lines -> lines }
        VERDICT(failures, aligned.map { found -> rounds.size() + found.size() })
        def reported = Collections.synchronizedSet([] as Set)
        def stitched = Collections.synchronizedSet([] as Set)
        outcomes.subscribe { outcome -> reported.add(outcome.id) }
        seams.subscribe { outcome -> stitched.add(outcome.id) }
        channel.topic('versions')
            .unique()
            .map { process, tool, version -> "${process.tokenize(':')[-1]}: ${tool} ${version}" }
            .collectFile(name: 'versions.txt', storeDir: "${params.outdir}/pipeline_info", newLine: true, sort: true)

        workflow.onComplete = {
            clocks*.cancel()
            if (reported || stitched || !workflow.success) {
                log.info((roundLines(rounds, stitched, params.outdir, run, 20) + lastLines(pairs, reported, params.outdir, run, 20) + ["Results: ${file(params.outdir, glob: false)}"]).join('\n'))
            }
        }
    }
}

// The workers of a driver: `own` is how many it starts itself ('cores': as many as fit), or the scheduler of another
// cluster; `helpers` is how many tasks join them; `network` holds the options that say where they listen, and for how long the
// first is waited for. configs/base.config gives the driver the cores for its own.
def clusterOf(parameters) {
    def size = sizeOf(parameters)
    def wait = isGiven(parameters.dask_worker_wait) ? " --worker-wait ${parameters.dask_worker_wait}" : ''
    size + [network: (size.helpers > 0 ? networkOptions(parameters) : '--local') + wait]
}

def sizeOf(parameters) {
    def mode = parameters.bigstream_cluster == 'auto' ? parameters.bigstream_cluster_auto : parameters.bigstream_cluster
    def workers = parameters.bigstream_workers.toString().toInteger()
    isGiven(parameters.dask_scheduler) ? [own: parameters.dask_scheduler, helpers: 0]
        : !asBoolean(parameters.use_bigstream) ? [own: 'cores', helpers: 0]
        : mode == 'nextflow' ? [own: '1', helpers: workers]
        : [own: "${workers}".toString(), helpers: 0]
}

def firstLines(lines) {
    lines.take(10) + (lines.size() > 10 ? ["and ${lines.size() - 10} more"] : [])
}

def computer(cluster, parameters) {
    def cores = parameters.bigstream_worker_cpus.toString()
    def each = "${cores} core${cores == '1' ? '' : 's'} and ${parameters.bigstream_worker_mem_gb} GB each"
    isGiven(parameters.dask_scheduler) ? "the Dask cluster at ${cluster.own}"
        : cluster.own == 'cores' ? "each task's own cores"
        : cluster.helpers ? "1 Dask worker in each task with blocks and ${cluster.helpers} more that join it, ${each}"
        : "${cluster.own} Dask worker${cluster.own == '1' ? '' : 's'} in each task with blocks, ${each}"
}
