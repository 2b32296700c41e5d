// What tasks stage of a pair, and what they call it. A file of its own: the strict parser runs a file that several include more
// than once, and refuses what that file itself includes the second time.

include { word ; workPath } from './shell.nf'

// What a task stages of transforms of the user.
def stagedTransforms(transforms) {
    transforms.collect { transform -> file(transform.path, glob: false) }
}

// What a task stages of a volume: nothing for one at an address, or where there is none.
def staged(volume) {
    volume?.path ? file(volume.path, glob: false) : []
}

// What a task calls a volume that is staged into `folder` of its work directory, as a word of the shell; an address stays.
def uriIn(folder, volume, use) {
    volume.address ? word(volume.datasets[use]) : workPath("${folder}/${volume.datasets[use]}")
}

// For the record in results, as a word of the shell: the users' own names of what a task sees in its work directory,
// the folders that volumes are staged into and the `results` of other tasks.
def inputNames(volumes, results) {
    def folders = volumes.findAll { _folder, volume -> volume?.path }.collectEntries { folder, volume -> [folder, file(volume.shown ?: volume.path, glob: false).parent.toString()] }
    word(groovy.json.JsonOutput.toJson(results + folders))
}
