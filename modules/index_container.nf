// Lists the images of a container that tasks have filled, in the metadata of its root.
process INDEX_CONTAINER {
    tag "${meta.id}"

    input:
    tuple val(meta), val(container), path(images, stageAs: 'images/*')

    output:
    tuple val(meta), path("${meta.id}/${container}/{zarr.json,.zgroup,.zattrs,OME,attributes.json}", hidden: true), emit: index
    tuple val(task.process), val('teralign'), eval("teralign --version | sed 's/.* //'"), topic: versions

    script:
    def args = task.ext.args ?: ''
    """
    mkdir -p ${meta.id}
    mv images ${meta.id}/${container}
    teralign index-container ${args} ${meta.id}/${container}
    """

    stub:
    """
    mkdir -p ${meta.id}/${container}
    touch ${meta.id}/${container}/zarr.json
    """
}
