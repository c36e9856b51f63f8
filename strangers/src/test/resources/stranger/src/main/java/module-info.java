module stranger {
    requires dev.merapi;
}
