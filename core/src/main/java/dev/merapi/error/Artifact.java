// SPDX-License-Identifier: Apache-2.0
package dev.merapi.error;

import java.lang.module.ModuleDescriptor;

/** This build of Merapi, as errors name it. */
public final class Artifact {
    private static final String VERSION = version(Artifact.class);

    private Artifact() {}

    /** {@return the version of the engine, or "development" if it runs from a folder of classes} */
    public static String version() {
        return VERSION;
    }

    private static String version(Class<?> of) {
        ModuleDescriptor module = of.getModule().getDescriptor();
        String version = module != null
                ? module.rawVersion().orElse(null)
                : of.getPackage().getImplementationVersion(); // the manifest's
        return version != null ? version : "development";
    }

    /**
     * The lines of a {@code pom.xml} that add an artifact of this version.
     *
     * @param name such as {@code merapi}
     * @return one line
     */
    public static String xml(String name) {
        return "<dependency><groupId>dev.merapi</groupId><artifactId>" + name + "</artifactId><version>" + VERSION
                + "</version></dependency>";
    }
}
