// Aligns pairs: global alignment, local alignment, warping of volumes and points, and a report of each.

include { GLOBAL_ALIGN } from '../modules/global_align.nf'
include { GLOBAL_ALIGN as REUSE_GLOBAL } from '../modules/global_align.nf'
include { LOCAL_ALIGN } from '../modules/local_align.nf'
include { APPLY_TRANSFORM } from '../modules/apply_transform.nf'
include { INDEX_CONTAINER } from '../modules/index_container.nf'
include { TRANSFORM_POINTS } from '../modules/transform_points.nf'
include { REPORT } from '../modules/report.nf'
include { INDEX_REPORTS } from '../modules/index_reports.nf'
include { COMPARE_ROUNDS } from '../modules/compare_rounds.nf'
include { MERGE_ROUNDS } from '../modules/merge_rounds.nf'
include { prepareDirectory } from './dask_directories.nf'
include { traceOfRun } from './trace.nf'
include { word } from './shell.nf'
include { inputNames ; staged ; stagedTransforms ; uriIn } from './staging.nf'

workflow REGISTER {
    take:
    pairs    // a value channel: the list of maps that readPairs makes
    settings // a map: config, cluster (own, helpers, network), dask_dir, anchor, warped_dir, outdir, started (of the run, in ms), run (command, parameters)

    main:
    def config = file(settings.config, checkIfExists: true, glob: false)
    def anchor = settings.anchor
    all = pairs.flatMap { list -> list }
    aligned = all.filter { pair -> !pair.transforms.whole }

    GLOBAL_ALIGN(
        aligned.filter { pair -> !isReusing(pair) }.map { pair ->
            alignInputs(pair, 'global', pair.transforms.initial) + [stagedTransforms(pair.transforms.initial)]
        },
        config,
    )

    // The transform of another pair, or of an earlier run, passes through the same command, without steps.
    ofPairs = aligned.filter { pair -> pair.transforms.reused_pair }
        .map { pair -> [[id: pair.transforms.reused_pair], pair] }
        .combine(GLOBAL_ALIGN.out.transform, by: 0)
        .map { _source, pair, transform -> alignInputs(pair, 'global', []) + [transform] }
    ofFiles = aligned.filter { pair -> pair.transforms.reused }
        .map { pair -> alignInputs(pair, 'global', pair.transforms.reused) + [stagedTransforms(pair.transforms.reused)] }
    REUSE_GLOBAL(ofPairs.mix(ofFiles), config)

    local = aligned.map { pair ->
        def (meta, call, fixed, moving, fixed_mask, moving_mask) = alignInputs(pair, 'local', [])
        [meta, call, prepareDirectory("${settings.dask_dir}/local-${pair.id}", settings.cluster), fixed, moving, fixed_mask, moving_mask]
    }
    starts = GLOBAL_ALIGN.out.transform.mix(REUSE_GLOBAL.out.transform)
    LOCAL_ALIGN(local.join(starts), config, anchor)

    // The whole map of each pair, as one file or several, outermost first, and the report of the blocks, if there is one.
    given = all.filter { pair -> pair.transforms.whole }.map { pair -> [[id: pair.id], stagedTransforms(pair.transforms.whole), []] }
    transforms = LOCAL_ALIGN.out.transform.mix(given)

    images = all.flatMap { pair ->
        pair.images.collect { image ->
            def dir = prepareDirectory("${settings.dask_dir}/apply-${pair.id}-${image.name}", settings.cluster)
            [[id: pair.id], [id: pair.id, name: image.name], applyCall(pair, image, settings.warped_dir), dir, staged(pair.fixed), staged(image.volume)]
        }
    }
    APPLY_TRANSFORM(
        images.combine(transforms, by: 0).map { _pair, meta, call, dir, fixed, moving, files, _blocks ->
            [meta, call, dir, fixed, moving, files]
        },
        anchor,
    )
    containers = all.filter { pair -> pair.container }
        .map { pair -> [pair.id, pair.container, pair.images.size()] }
        .combine(APPLY_TRANSFORM.out.warped.map { meta, image -> [meta.id, image] }, by: 0)
        .map { id, container, count, image -> [groupKey([id: id, container: container], count), image] }
        .groupTuple()
    INDEX_CONTAINER(containers.map { key, warped -> [[id: key.id], key.container, warped] })

    tables = all.flatMap { pair ->
        pair.points.collect { points ->
            [[id: pair.id], [id: pair.id, name: points.name], [options: pair.options.points], file(points.table, glob: false)]
        }
    }
    TRANSFORM_POINTS(
        tables.combine(transforms, by: 0).map { _pair, meta, call, points, files, _blocks -> [meta, call, points, files] }
    )

    steps = GLOBAL_ALIGN.out.metrics.mix(REUSE_GLOBAL.out.metrics, given.map { meta, _files, _blocks -> [meta, []] })
    REPORT(
        all.map { pair -> alignInputs(pair + [fixed_mask: null, moving_mask: null], 'report', pair.transforms.whole).take(4) }
            .join(transforms)
            .join(steps)
            .join(all.map { pair -> [[id: pair.id]] + landmarksOf(pair) })
    )

    // Rounds that share a volume, once all of them are aligned.
    rounds = transforms.toSortedList { a, b -> a[0].id <=> b[0].id }
        .map { found -> [found] }
        .combine(pairs.map { list -> [list] })
        .flatMap { found, list -> groupsOf(list, found) }
    COMPARE_ROUNDS(rounds.filter { group -> group.volumes.size() > 2 }.map { group -> roundsInputs(group, 'global') })
    merged = rounds.filter { _group -> settings.merge_rounds }
        .flatMap { group -> starsOf(group) }
        .map { star ->
            def (call, volumes, files) = roundsInputs(star, 'apply')
            [call, prepareDirectory("${settings.dask_dir}/merge-${call.output}", settings.cluster), volumes, files]
        }
    MERGE_ROUNDS(merged, anchor)

    // The pairs in the order of the samplesheet, whichever was first; the trace is read last, when it has all other tasks.
    order = pairs.map { list -> list.collect { pair -> pair.id } }
    listed = REPORT.out.report.toList()
        .filter { found -> found }
        .map { found -> [found] }
        .combine(order.map { ids -> [ids] })
        .map { found, ids -> found.sort(false) { entry -> ids.indexOf(entry[0].id) } }
        .combine(APPLY_TRANSFORM.out.warped.mix(TRANSFORM_POINTS.out.points, INDEX_CONTAINER.out, MERGE_ROUNDS.out.merged).count())
        .map { found -> found.dropRight(1) }
    INDEX_REPORTS(
        listed.map { found -> found.collect { meta, _folder -> meta.id } },
        listed.map { found -> found.collect { _meta, folder -> folder } },
        COMPARE_ROUNDS.out.report.toList(),
        listed.map { _found -> traceOfRun(settings.started) ?: [] },
        settings.outdir.toString().tokenize('/')[-1] ?: 'results',
        listed.combine(order.map { ids -> [ids] }).map { found -> found[-1] - found[0..-2].collect { meta, _folder -> meta.id } },
        settings.run,
    )

    drivers = local.map { meta, _call, dir, fixed, moving, fixed_mask, moving_mask ->
        [dir: dir, name: "${meta.id} local".toString(), volumes: [fixed, moving, fixed_mask, moving_mask].flatten()]
    }.mix(
        images.map { _pair, meta, _call, dir, fixed, moving ->
            [dir: dir, name: "${meta.id} ${meta.name}".toString(), volumes: [fixed, moving].flatten()]
        }
    )
    finished = LOCAL_ALIGN.out.finished.mix(APPLY_TRANSFORM.out.finished)
    warped = APPLY_TRANSFORM.out.warped
    points = TRANSFORM_POINTS.out.points
    reports = REPORT.out.report
    results = warped.mix(points, reports, INDEX_CONTAINER.out, INDEX_REPORTS.out.page, COMPARE_ROUNDS.out.report, MERGE_ROUNDS.out.merged)

    emit:
    transforms
    warped
    points
    reports
    results // of every task that writes for users: complete when all pairs are
    drivers
    finished
}

// Groups of aligned pairs that share volumes, directly or through others: lists of pair and files of transforms, and the
// volumes of each group by the users' names.
def groupsOf(pairs, transforms) {
    def byId = pairs.collectEntries { pair -> [pair.id, pair] }
    def groups = []
    transforms.each { meta, files, _blocks ->
        def pair = byId[meta.id]
        def volumes = [volumeName(pair.fixed), volumeName(pair.moving)] as Set
        def shared = groups.findAll { group -> group.volumes.any { name -> name in volumes } }
        groups = (groups - shared) + [[
            volumes: volumes + shared.collectMany { group -> group.volumes },
            rounds: shared.collectMany { group -> group.rounds } + [[pair: pair, files: [files].flatten()]],
        ]]
    }
    groups.findAll { group -> group.rounds.size() > 1 }
        .withIndex(1)
        .collect { group, number -> group + [report: number == 1 ? 'rounds.json' : "rounds_${number}.json".toString()] }
}

// The rounds of a group by their fixed volume.
def starsOf(group) {
    group.rounds.groupBy { round -> volumeName(round.pair.fixed) }.values().collect { rounds -> [rounds: rounds] }
}

def volumeName(volume) {
    volume.address ?: volume.path
}

// The inputs of a task that reads several rounds: a call with a table of them, the volumes and the transforms to stage. A
// volume is read at the scale of the first round that has it.
def roundsInputs(group, use) {
    def staged = []
    def places = [:]
    def files = []
    def rows = group.rounds.sort(false) { round -> round.pair.id }.collect { round ->
        def pair = round.pair
        [pair.fixed, pair.moving].each { volume ->
            if (!(volumeName(volume) in places)) {
                if (volume.path) {
                    staged << volume.path
                }
                places[volumeName(volume)] = volume.address ? volume.datasets[use] : "volumes/${staged.size()}/${volume.datasets[use]}".toString()
            }
        }
        def maps = round.files.collect { map ->
            files << map
            "transforms/${files.size()}/${map.name}".toString()
        }
        [pair.id, places[volumeName(pair.fixed)], places[volumeName(pair.moving)], maps.join(';')].collect { text -> cell(text) }.plus(pair.rounds[use]).join(',')
    }
    def fixed = group.rounds[0].pair.fixed
    def volumes = staged.withIndex(1).collectEntries { path, number -> ["volumes/${number}".toString(), [path: path]] }
    def maps = group.rounds.sort(false) { round -> round.pair.id }
        .collectMany { round -> round.files.collect { round.pair.id } }
        .withIndex(1)
        .collectEntries { id, number -> ["transforms/${number}".toString(), id] }
    def call = [
        table: (['id,fixed,moving,transform,fixed_channel,moving_channel,fixed_spacing,moving_spacing,fixed_expansion,moving_expansion'] + rows)
            .collect { row -> word(row) }
            .join(' '),
        output: "${volumeName(fixed).tokenize('/')[-1].replaceFirst(/\.[a-z0-9.]+$/, '').replaceAll(/[^A-Za-z0-9._-]/, '_')}.zarr".toString(),
        report: group.report,
        names: inputNames(volumes, maps),
        fingerprint: group.rounds.collect { round -> [round.pair.fixed, round.pair.moving].collect { volume -> volume.fingerprints[use] }.join(' ') }.join(' '),
    ]
    [call, staged.collect { path -> file(path, glob: false) }, files]
}

// A text as a cell of a table.
def cell(text) {
    "\"${text.replace('"', '""')}\"".toString()
}

// The tables of landmarks of a pair that its report stages, of the fixed and the moving volume.
def landmarksOf(pair) {
    pair.landmarks ? pair.landmarks.collect { table -> file(table, glob: false) } : [[], []]
}

// Is the global transform of a pair that of another pair or of an earlier run?
def isReusing(pair) {
    pair.transforms.reused || pair.transforms.reused_pair
}

// The inputs of a task that reads both volumes of a pair (global, local or report): meta, call, fixed, moving and their
// masks. A call is what the task's command is told of the pair: volumes, options, the name of the global transform, and
// what -resume compares, of the volumes and of `transforms` of the user.
def alignInputs(pair, task, transforms) {
    def use = task == 'report' ? 'global' : task
    def volumes = ['fixed', 'moving', 'fixed_mask', 'moving_mask'].collectEntries { name -> [name, pair[name]] }
    def masks = ['fixed_mask', 'moving_mask'].findAll { name -> pair[name] }.collect { name ->
        "--${name.replace('_', '-')} ${uriIn(name, pair[name], use)}"
    }
    def call = [
        fixed: uriIn('fixed', pair.fixed, use),
        moving: uriIn('moving', pair.moving, use),
        options: ([pair.options[task]] + masks).join(' '),
        output: pair.transforms.global_name,
        names: inputNames(volumes, resultNames(pair)),
        fingerprint: (volumes.values().collect { volume -> volume ? volume.fingerprints[use] : '' } + transforms*.fingerprint).join(' '),
    ]
    [[id: pair.id], call] + volumes.values().collect { volume -> staged(volume) }
}

// `warped_dir` is the address of the folder to write to; without it the result stays in the work directory.
def applyCall(pair, image, warped_dir) {
    [
        fixed: uriIn('fixed', pair.fixed, image.use),
        moving: uriIn('moving', image.volume, image.use),
        address: warped_dir ? "${warped_dir.replaceFirst(/\/+$/, '')}/${pair.id}/${image.file}".toString() : '',
        file: image.file,
        output: warped_dir ? "${image.name}.json".toString() : image.output,
        options: image.options,
        names: inputNames([fixed: pair.fixed, moving: image.volume], resultNames(pair)),
        fingerprint: ([pair.fixed.fingerprints[image.use], image.volume.fingerprints[image.use]] + pair.transforms.whole*.fingerprint).join(' '),
    ]
}

// The names, below the folder of results, of what a pair's tasks write and hand on, and the users' own names of the
// transforms that they gave, by the folders that these are staged into.
def resultNames(pair) {
    def id = pair.id
    def transforms = pair.transforms
    def own = [transforms.global_name, 'transform.blocks.json'].collectEntries { name -> [name, "${id}/${name}".toString()] }
    def starts = transforms.reused_pair ? ['start/1': transforms.reused_pair] : foldersOf('start', transforms.initial ?: transforms.reused)
    def maps = transforms.whole ? foldersOf('transforms', transforms.whole) : ['transforms/1': id]
    own + starts + maps + [(id): id]
}

def foldersOf(folder, transforms) {
    transforms.withIndex(1).collectEntries { transform, number -> ["${folder}/${number}".toString(), file(transform.path, glob: false).parent.toString()] }
}
