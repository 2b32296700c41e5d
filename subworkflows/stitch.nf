// Stitches rounds of tiles: where they lie, how the light falls, the shifts in their overlaps, and one volume of each round.

include { IMPORT_TILES } from '../modules/import_tiles.nf'
include { ESTIMATE_FLATFIELD } from '../modules/estimate_flatfield.nf'
include { ALIGN_TILES } from '../modules/align_tiles.nf'
include { SOLVE_TILES } from '../modules/solve_tiles.nf'
include { REFINE_TILES } from '../modules/refine_tiles.nf'
include { BALANCE_TILES } from '../modules/balance_tiles.nf'
include { FUSE_TILES } from '../modules/fuse_tiles.nf'
include { REPORT_TILES } from '../modules/report_tiles.nf'
include { prepareDirectory } from './dask_directories.nf'

workflow STITCH {
    take:
    rounds   // a list of maps, as readRounds makes them
    settings // a map: cluster (own, helpers, network), dask_dir, anchor, flatfield, balance and refine (is any of them wanted), output (the name of a stitched volume), stitched_dir (the address of the folder to write these to, or null)

    main:
    def anchor = settings.anchor
    all = channel.fromList(rounds)
    sources = all.map { round -> [[id: round.id], file(round.source, glob: false)] }

    IMPORT_TILES(all.map { round ->
        [[id: round.id], [source: round.source, options: round.options, fingerprint: round.fingerprint], file(round.source, glob: false)]
    })
    tiles = IMPORT_TILES.out.tiles

    ESTIMATE_FLATFIELD(tiles.join(sources).filter { _found -> settings.flatfield })
    flatfields = ESTIMATE_FLATFIELD.out.flatfield.mix(all.filter { _round -> !settings.flatfield }.map { round -> [[id: round.id], []] })

    aligning = all.map { round ->
        [[id: round.id], [channel: round.channel, fingerprint: round.fingerprint], prepareDirectory("${settings.dask_dir}/tiles-${round.id}", settings.cluster)]
    }
    ALIGN_TILES(aligning.join(tiles).join(sources), anchor)
    SOLVE_TILES(tiles.join(ALIGN_TILES.out.pairs))
    solved = SOLVE_TILES.out.solved

    refining = all.filter { _round -> settings.refine }.map { round ->
        [[id: round.id], [fingerprint: round.fingerprint], prepareDirectory("${settings.dask_dir}/refine-${round.id}", settings.cluster)]
    }
    REFINE_TILES(refining.join(solved).join(ALIGN_TILES.out.pairs).join(sources), anchor)
    refinements = REFINE_TILES.out.refinement.mix(all.filter { _round -> !settings.refine }.map { round -> [[id: round.id], []] })

    balancing = all.filter { _round -> settings.balance }.map { round ->
        [[id: round.id], [fingerprint: round.fingerprint], prepareDirectory("${settings.dask_dir}/balance-${round.id}", settings.cluster)]
    }
    BALANCE_TILES(balancing.join(solved).join(flatfields).join(sources), anchor)
    placed = settings.balance ? BALANCE_TILES.out.balanced : solved

    fusing = all.map { round ->
        [[id: round.id], fuseCall(round, settings), prepareDirectory("${settings.dask_dir}/fuse-${round.id}", settings.cluster)]
    }
    FUSE_TILES(fusing.join(placed).join(flatfields).join(refinements).join(sources), anchor)
    REPORT_TILES(aligning.map { meta, call, _dir -> [meta, call] }.join(placed).join(ALIGN_TILES.out.pairs).join(flatfields).join(refinements).join(sources))

    drivers = aligning.join(sources).map { meta, _call, dir, source -> [dir: dir, name: "${meta.id} tiles".toString(), volumes: [source]] }
        .mix(refining.join(sources).map { meta, _call, dir, source -> [dir: dir, name: "${meta.id} refine".toString(), volumes: [source]] })
        .mix(balancing.join(sources).map { meta, _call, dir, source -> [dir: dir, name: "${meta.id} balance".toString(), volumes: [source]] })
        .mix(fusing.join(sources).map { meta, _call, dir, source -> [dir: dir, name: "${meta.id} fuse".toString(), volumes: [source]] })
    finished = ALIGN_TILES.out.finished.mix(REFINE_TILES.out.finished, BALANCE_TILES.out.finished, FUSE_TILES.out.finished)

    stitched = FUSE_TILES.out.stitched.map { meta, volume -> [meta, addressOf(meta.id, settings) ?: volume] }
    reports = REPORT_TILES.out.report

    emit:
    stitched
    reports
    drivers
    finished
}

// What the writing of a round depends on besides its tiles. Where it is written to an address, `output` says so.
def fuseCall(round, settings) {
    def address = addressOf(round.id, settings)
    [output: address ? 'stitched.json' : settings.output, address: address, fingerprint: round.fingerprint]
}

def addressOf(id, settings) {
    settings.stitched_dir ? "${settings.stitched_dir.replaceFirst(/\/+$/, '')}/${id}/${settings.output}".toString() : ''
}
