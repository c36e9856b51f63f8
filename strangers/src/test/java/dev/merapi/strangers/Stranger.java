// SPDX-License-Identifier: Apache-2.0
package dev.merapi.strangers;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A project with the dependency that docs/install.md shows, built once by Maven: from the staged repository, and for what
 * others have made from the local one, into a local repository of its own.
 */
final class Stranger {
    private static Stranger built;

    private final Path classes;
    private final List<Path> jars;

    private Stranger(Path classes, List<Path> jars) {
        this.classes = classes;
        this.jars = jars;
    }

    static synchronized Stranger built() throws IOException, InterruptedException {
        if (built == null) {
            built = build();
        }
        return built;
    }

    /** The first XML of the page that names the whole of Merapi: what a stranger copies. */
    static String dependency() throws IOException {
        Matcher snippet = Pattern.compile("```xml\\n(.*?<artifactId>merapi</artifactId>.*?)```", Pattern.DOTALL)
                .matcher(Files.readString(Staged.root().resolve("docs/install.md")));
        assertThat(snippet.find()).as("docs/install.md shows the dependency").isTrue();
        return snippet.group(1);
    }

    private static Stranger build() throws IOException, InterruptedException {
        Path staged = Staged.repository();
        Path project = Path.of("target", "stranger").toAbsolutePath();
        Path local = Path.of("target", "stranger-m2").toAbsolutePath(); // kept: what others have made is there already
        Staged.delete(project);
        Staged.delete(local.resolve("dev/merapi"));
        copy(Path.of("src/test/resources/stranger"), project);

        Path settings = Files.writeString(project.resolve("settings.xml"), """
                <settings>
                    <localRepository>%s</localRepository>
                    <mirrors>
                        <mirror>
                            <id>others</id>
                            <mirrorOf>*,!staged</mirrorOf>
                            <url>%s</url>
                        </mirror>
                    </mirrors>
                </settings>
                """.formatted(
                local, Path.of(System.getProperty("merapi.strangers.local")).toUri()));
        Path pom = project.resolve("pom.xml");
        Files.writeString(
                pom,
                Files.readString(pom)
                        .replace("@staged@", staged.toUri().toString())
                        .replace("@dependency@", dependency())
                        .replace("@resources@", plugin("maven-resources-plugin"))
                        .replace("@compiler@", plugin("maven-compiler-plugin"))
                        .replace("@dependency-plugin@", plugin("maven-dependency-plugin")));
        Path list = project.resolve("jars.txt");
        Jdk.Run run = Jdk.run(
                project,
                List.of(
                        Path.of(System.getProperty("merapi.strangers.maven"), "bin", "mvn")
                                .toString(),
                        "-B",
                        "-ntp",
                        "-q",
                        "-s",
                        settings.toString(),
                        "compile",
                        "dependency:build-classpath",
                        "-Dmdep.outputFile=" + list));
        assertThat(run.status()).as(run.out() + run.err()).isZero();
        return new Stranger(
                project.resolve("target/classes"),
                Arrays.stream(Files.readString(list).split(File.pathSeparator))
                        .map(Path::of)
                        .toList());
    }

    /** The version of a plugin that this build has, and that therefore is in the local repository. */
    private static String plugin(String name) throws IOException {
        Matcher version = Pattern.compile("<artifactId>" + name + "</artifactId>\\s*<version>([^<]+)</version>")
                .matcher(Files.readString(Staged.root().resolve("pom.xml")));
        assertThat(version.find()).as(name).isTrue();
        return version.group(1);
    }

    private static void copy(Path from, Path to) throws IOException {
        try (Stream<Path> files = Files.walk(from)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Path copy = to.resolve(from.relativize(file).toString());
                Files.createDirectories(copy.getParent());
                Files.copy(file, copy);
            }
        }
    }

    Path classes() {
        return classes;
    }

    /** What Maven would put on the run-time class path behind the project's own classes. */
    List<Path> jars() {
        return jars;
    }

    String path() {
        return path(jar -> true);
    }

    /** Of the jars only some. */
    String path(java.util.function.Predicate<String> jar) {
        return String.join(
                File.pathSeparator,
                Stream.concat(
                                Stream.of(classes),
                                jars.stream()
                                        .filter(j -> jar.test(j.getFileName().toString())))
                        .map(Path::toString)
                        .toList());
    }
}
