// Aligns pairs: global alignment, local alignment, warping of volumes and points, and a report of each.

include { GLOBAL_ALIGN } from '../modules/global_align.nf'
include { LOCAL_ALIGN } from '../modules/local_align.nf'
include { APPLY_TRANSFORM } from '../modules/apply_transform.nf'
include { TRANSFORM_POINTS } from '../modules/transform_points.nf'
include { REPORT } from '../modules/report.nf'
include { DASK_CLUSTER ; prepareDirectory } from './dask_cluster.nf'
include { fingerprint } from './pairs.nf'

workflow REGISTER {
    take:
    pairs    // a list of maps, as readPairs makes them
    settings // a map: global_options, local_options, apply_options (texts), config, cluster (own, helpers), dask_dir, warped_dir

    main:
    def config = file(settings.config, checkIfExists: true)
    def anchor = writeAnchor(settings.dask_dir)
    all = channel.fromList(pairs)

    GLOBAL_ALIGN(all.map { pair -> alignInputs(pair, 'global') }, settings.global_options, config)

    local = all.map { pair ->
        def inputs = alignInputs(pair, 'local')
        [pair.id, inputs[0] + [dir: prepareDirectory("${settings.dask_dir}/local-${pair.id}", settings.cluster.own)]] + inputs.drop(1)
    }
    LOCAL_ALIGN(
        local.join(GLOBAL_ALIGN.out.transform).map { items -> items.drop(1) },
        settings.local_options,
        config,
        anchor,
    )

    transforms = GLOBAL_ALIGN.out.transform.join(LOCAL_ALIGN.out.transform)

    images = all.flatMap { pair ->
        pair.images.collect { image ->
            def meta = applyMeta(pair, image, settings.warped_dir)
            def dir = prepareDirectory("${settings.dask_dir}/apply-${pair.id}-${image.name}", settings.cluster.own)
            [pair.id, meta + [dir: dir], pair.fixed.path, image.volume.path]
        }
    }
    APPLY_TRANSFORM(
        images.combine(transforms, by: 0).map { _id, meta, fixed, moving, affine, field, _blocks ->
            [meta, fixed, moving, affine, field]
        },
        settings.apply_options,
        anchor,
    )

    tables = all.flatMap { pair ->
        pair.points.collect { points -> [pair.id, [id: pair.id, name: points.name], points.table] }
    }
    TRANSFORM_POINTS(
        tables.combine(transforms, by: 0).map { _id, meta, points, affine, field, _blocks -> [meta, points, affine, field] }
    )

    REPORT(
        all.map { pair -> [pair.id, reportMeta(pair), pair.fixed.path, pair.moving.path] }
            .join(transforms)
            .map { items -> items.drop(1) }
    )

    if (settings.cluster.helpers > 0) {
        DASK_CLUSTER(
            local.map { _id, meta, fixed, moving, fixed_mask, moving_mask ->
                [dir: meta.dir, name: "${meta.id} local".toString(), volumes: [fixed, moving, fixed_mask, moving_mask].flatten()]
            }.mix(
                images.map { _id, meta, fixed, moving ->
                    [dir: meta.dir, name: "${meta.id} ${meta.name}".toString(), volumes: [fixed, moving].flatten()]
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

// The inputs of an alignment of a pair at one scale: meta, fixed, moving and their masks ([] where there is none).
def alignInputs(pair, use) {
    def volumes = ['fixed', 'moving', 'fixed_mask', 'moving_mask'].collectEntries { name -> [name, pair[name]] }
    def masks = ['fixed_mask', 'moving_mask'].findAll { name -> pair[name] }.collect { name ->
        "--${name.replace('_', '-')} \"${uriIn(name, pair[name], use)}\""
    }
    def channels = ['fixed', 'moving'].collect { side -> "--${side}-channel ${pair.channels[side]}" }
    def meta = [
        id: pair.id,
        fixed: uriIn('fixed', pair.fixed, use),
        moving: uriIn('moving', pair.moving, use),
        options: (channels + spacingOptions(pair, use) + masks + pair.mask_options).join(' '),
        fingerprint: volumes.values().collect { volume -> fingerprint(volume, use) }.join(' '),
    ]
    [meta] + volumes.values().collect { volume -> volume ? volume.path : [] }
}

// `warped_dir` is the address of the folder to write to, if not to the work directory.
def applyMeta(pair, image, warped_dir) {
    def options = [
        'fixed-spacing': spacingOf(pair, 'fixed', pair.fixed.apply),
        'moving-spacing': image.spacing ?: spacingOf(pair, 'moving', image.volume.apply),
        'moving-channel': image.channels,
        interpolation: image.interpolation,
    ]
    [
        id: pair.id,
        name: image.name,
        fixed: uriIn('fixed', pair.fixed, 'apply'),
        moving: uriIn('moving', image.volume, 'apply'),
        address: warped_dir ? "${warped_dir.replaceFirst(/\/+$/, '')}/${pair.id}/${image.name}.zarr".toString() : '',
        options: options.findAll { _name, value -> value }.collect { name, value -> "--${name} ${value}" }.join(' '),
        fingerprint: "${fingerprint(pair.fixed, 'apply')} ${fingerprint(image.volume, 'apply')}".toString(),
    ]
}

def reportMeta(pair) {
    [id: pair.id] + alignInputs([fixed_mask: null, moving_mask: null, mask_options: []] + pair.subMap(['id', 'fixed', 'moving', 'channels', 'spacings']), 'global')[0]
}

// What a task calls a volume: where it is staged, in a folder of its work directory, or its address.
def uriIn(folder, volume, use) {
    volume.address ? volume[use] : "\$PWD/${folder}/${volume[use]}".toString()
}

def spacingOptions(pair, use) {
    ['fixed', 'moving'].collectMany { side ->
        def spacing = spacingOf(pair, side, pair[side][use])
        spacing ? ["--${side}-spacing ${spacing}"] : []
    }
}

// The spacing given for a dataset, or for all.
def spacingOf(pair, side, dataset) {
    pair.spacings[side][dataset.tokenize('/')[-1]] ?: pair.spacings[side]['']
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
