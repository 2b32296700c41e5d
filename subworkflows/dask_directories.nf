// Directories where the drivers of Dask clusters and their workers meet.

// Makes the directory of a driver: closed to other users, without the marks of an earlier run, and with the number of workers
// that run-on-dask starts and where they listen. These stand in files and not in the script, so that -resume does not take
// another cluster for another result. Unfinished blocks stay. A path that is relative is that of a task, which makes it.
def prepareDirectory(path, cluster) {
    if (!path.startsWith('/')) {
        return path
    }
    def dir = file(path, glob: false)
    dir.mkdirs()
    dir.setPermissions('rwx------')
    ['scheduler.json', 'credentials.pem', 'terminate', 'progress', 'useful_workers'].each { name -> dir.resolve(name).delete() }
    dir.resolve('workers').text = cluster.own
    dir.resolve('network').text = cluster.network
    dir.toString()
}

// A file that drivers and workers all take as input: with it a container engine mounts the whole work directory, and
// so the directories where they meet and the drivers' outputs.
def writeAnchor(folder) {
    def anchor = file("${folder}/../.anchor", glob: false).normalize()
    anchor.parent.mkdirs()
    if (!anchor.exists()) {
        anchor.text = ''
    }
    anchor
}
