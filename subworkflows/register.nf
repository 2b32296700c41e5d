// Aligns pairs: global alignment, local alignment, warping of volumes and points, and a report of each.

include { GLOBAL_ALIGN } from '../modules/global_align.nf'
include { LOCAL_ALIGN } from '../modules/local_align.nf'
include { APPLY_TRANSFORM } from '../modules/apply_transform.nf'
include { TRANSFORM_POINTS } from '../modules/transform_points.nf'
include { REPORT } from '../modules/report.nf'
include { DASK_CLUSTER ; prepareDirectory } from './dask_cluster.nf'
include { inputNames ; staged ; uriIn } from './pairs.nf'

workflow REGISTER {
    take:
    pairs    // a list of maps, as readPairs makes them
    settings // a map: config, cluster (own, helpers), dask_dir, warped_dir

    main:
    def config = file(settings.config, checkIfExists: true)
    def anchor = writeAnchor(settings.dask_dir)
    all = channel.fromList(pairs)

    GLOBAL_ALIGN(all.map { pair -> alignInputs(pair, 'global') }, config)

    local = all.map { pair ->
        def (meta, call, fixed, moving, fixed_mask, moving_mask) = alignInputs(pair, 'local')
        [meta, call, prepareDirectory("${settings.dask_dir}/local-${pair.id}", settings.cluster.own), fixed, moving, fixed_mask, moving_mask]
    }
    LOCAL_ALIGN(local.join(GLOBAL_ALIGN.out.transform), config, anchor)

    transforms = GLOBAL_ALIGN.out.transform.join(LOCAL_ALIGN.out.transform)
    maps = LOCAL_ALIGN.out.transform.map { meta, transform, _blocks -> [meta, transform] }

    images = all.flatMap { pair ->
        pair.images.collect { image ->
            def dir = prepareDirectory("${settings.dask_dir}/apply-${pair.id}-${image.name}", settings.cluster.own)
            [[id: pair.id], [id: pair.id, name: image.name], applyCall(pair, image, settings.warped_dir), dir, staged(pair.fixed), staged(image.volume)]
        }
    }
    APPLY_TRANSFORM(
        images.combine(maps, by: 0).map { _pair, meta, call, dir, fixed, moving, transform ->
            [meta, call, dir, fixed, moving, transform]
        },
        anchor,
    )

    tables = all.flatMap { pair ->
        pair.points.collect { points -> [[id: pair.id], [id: pair.id, name: points.name], file(points.table, glob: false)] }
    }
    TRANSFORM_POINTS(
        tables.combine(maps, by: 0).map { _pair, meta, points, transform -> [meta, points, transform] }
    )

    REPORT(
        all.map { pair -> alignInputs(pair + [fixed_mask: null, moving_mask: null], 'report').take(4) }
            .join(LOCAL_ALIGN.out.transform)
    )

    if (settings.cluster.helpers > 0) {
        DASK_CLUSTER(
            local.map { meta, _call, dir, fixed, moving, fixed_mask, moving_mask ->
                [dir: dir, name: "${meta.id} local".toString(), volumes: [fixed, moving, fixed_mask, moving_mask].flatten()]
            }.mix(
                images.map { _pair, meta, _call, dir, fixed, moving ->
                    [dir: dir, name: "${meta.id} ${meta.name}".toString(), volumes: [fixed, moving].flatten()]
                }
            ),
            LOCAL_ALIGN.out.finished.mix(APPLY_TRANSFORM.out.finished),
            settings.cluster.helpers,
            anchor,
        )
    }

    warped = APPLY_TRANSFORM.out.warped
    points = TRANSFORM_POINTS.out.points
    reports = REPORT.out.report

    emit:
    transforms
    warped
    points
    reports
}

// The inputs of a task that reads both volumes of a pair (global, local or report): meta, call, fixed, moving and their
// masks. A call is what the task's command is told of the pair: volumes, options, and what -resume compares.
def alignInputs(pair, task) {
    def use = task == 'report' ? 'global' : task
    def volumes = ['fixed', 'moving', 'fixed_mask', 'moving_mask'].collectEntries { name -> [name, pair[name]] }
    def masks = ['fixed_mask', 'moving_mask'].findAll { name -> pair[name] }.collect { name ->
        "--${name.replace('_', '-')} \"${uriIn(name, pair[name], use)}\""
    }
    def call = [
        fixed: uriIn('fixed', pair.fixed, use),
        moving: uriIn('moving', pair.moving, use),
        options: ([pair.options[task]] + masks).join(' '),
        names: inputNames(volumes, resultNames(pair.id)),
        fingerprint: volumes.values().collect { volume -> volume ? volume.fingerprints[use] : '' }.join(' '),
    ]
    [[id: pair.id], call] + volumes.values().collect { volume -> staged(volume) }
}

// `warped_dir` is the address of the folder to write to; without it the result stays in the work directory.
def applyCall(pair, image, warped_dir) {
    [
        fixed: uriIn('fixed', pair.fixed, 'apply'),
        moving: uriIn('moving', image.volume, 'apply'),
        address: warped_dir ? "${warped_dir.replaceFirst(/\/+$/, '')}/${pair.id}/${image.name}.zarr".toString() : '',
        options: image.options,
        names: inputNames([fixed: pair.fixed, moving: image.volume], resultNames(pair.id)),
        fingerprint: "${pair.fixed.fingerprints.apply} ${image.volume.fingerprints.apply}".toString(),
    ]
}

// The names, below the folder of results, of what a pair's tasks write and hand on.
def resultNames(id) {
    ['affine.mat', 'transform.zarr', 'transform.blocks.json'].collectEntries { name -> [name, "${id}/${name}".toString()] } + [(id): id]
}

// A file that drivers and workers all take as input: with it a container engine mounts the whole work directory, and
// so the directories where they meet and the drivers' outputs.
def writeAnchor(folder) {
    def anchor = file("${folder}/../.anchor").normalize()
    anchor.parent.mkdirs()
    if (!anchor.exists()) {
        anchor.text = ''
    }
    anchor
}
