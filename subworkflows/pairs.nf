// The pairs of a run. `teralign resolve` reads the samplesheet and looks up each volume before anything runs, so that
// what a path, a scale or a spacing means is decided in one place.

// Returns a list of maps:
//   id
//   fixed, moving, fixed_mask, moving_mask: volumes, null where there is no mask
//   transforms: what the pair begins with (initial, reused, whole, each a list of path and fingerprint; reused_pair;
//     global_name, the name of the global alignment's result)
//   options: of the tasks global, local, report and points, all but the volumes
//   rounds: the cells of the pair in a table of rounds, after its transform, of the uses global and apply
//   images: what is warped (name, volume, options; use, of the datasets; file, as it is written; output, its place)
//   points: tables that are brought along (name, table)
//   container: the container of all images, or an empty text
//   notes: what was chosen, reused and skipped, for the log
// A volume has a path to stage, or an address; by use (global, local, apply, apply_2) its datasets, counted from the folder that the
// path is staged into, and their fingerprints, which -resume compares instead of the name of a folder.
def readPairs(parameters, folder, engine) {
    resolved(parameters, folder, engine).pairs
}

// The rounds of tiles of a run: a list of maps with id, source (a path), fingerprint, options (of import-tiles), channel (the one
// that decides where tiles lie) and fixed (the round or volume that this one is aligned onto, or an empty text).
def readRounds(parameters, folder, engine) {
    resolved(parameters, folder, engine).rounds
}

// The pairs of rounds that are `stitched`, a list of meta and volume, a path or an address. People know those in the work
// directory by their place in the results.
def readStitchedPairs(parameters, stitched, folder, engine) {
    def volumes = stitched.collectEntries { meta, volume -> [meta.id, volume.toString()] }
    def names = stitched.findAll { _meta, volume -> volume instanceof java.nio.file.Path }
        .collectEntries { meta, volume -> [volume.toString(), "${parameters.outdir}/${meta.id}/${volume.name}".toString()] }
    def pairs = resolved(parameters + [stitched: volumes], folder, engine).pairs
    pairs.each { pair ->
        ([pair.fixed, pair.moving] + pair.images.collect { image -> image.volume }).each { volume -> volume.shown = names[volume.path] }
    }
    pairs
}

// Asks `teralign resolve` what parameters mean.
def resolved(parameters, folder, engine) {
    def answer = runOnHead(
        ['teralign', 'resolve', '/dev/stdin', '--folder', folder.toString()],
        groovy.json.JsonOutput.toJson(parameters),
        folder,
        engine ?: 'none',
        parameters.container,
    )
    def lines = answer.errors.readLines().findAll { line -> line.trim() }
    if (answer.code != 0) {
        error(lines ? lines[-1].replaceFirst(/^Error: /, '') : "The volumes could not be looked up: teralign resolve ended with ${answer.code}.")
    }
    lines.each { line -> log.warn(line) }
    new groovy.json.JsonSlurper().parseText(answer.output)
}

// Runs a command where the head job runs, in the tasks' container if they have one; returns its exit code and outputs.
def runOnHead(command, input, folder, engine, image) {
    def output = new ByteArrayOutputStream()
    def errors = new ByteArrayOutputStream()
    def running = (['bash', "${projectDir}/bin/on-head".toString(), engine, image.toString()] + command).execute(null, folder.toFile())
    running.outputStream.write(input.getBytes('UTF-8'))
    running.outputStream.close()
    running.waitForProcessOutput(output, errors)
    [code: running.exitValue(), output: output.toString('UTF-8'), errors: errors.toString('UTF-8')]
}

// One line for the log.
def describe(pair) {
    def fixed = pair.fixed
    def warped = pair.images.findAll { image -> image.volume.path == pair.moving.path && image.volume.address == pair.moving.address }
        .collect { image -> "warped ${image.volume.datasets[image.use]} on ${fixed.datasets[image.use]}" }.unique()
    (["${pair.id}: ${userName(pair.moving)} onto ${userName(fixed)}", "global ${fixed.datasets.global}, local ${fixed.datasets.local}, ${warped.join(', ')}"] + pair.notes).join('; ')
}

// One line for the log.
def describeRound(round) {
    "${round.id}: tiles of ${round.source}${round.fixed ? ", then aligned onto ${round.fixed}" : ''}"
}

def userName(volume) {
    volume.shown ?: volume.address ?: volume.path
}
