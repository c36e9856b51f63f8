// SPDX-License-Identifier: Apache-2.0
package dev.merapi.strangers;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** A JDK of this machine. */
record Jdk(Path home, int version) {
    /** The one of this process, and the newest other one: from the property merapi.strangers.jdks or beside this one. */
    static List<Jdk> all() throws IOException {
        Path own = Path.of(System.getProperty("java.home")).toRealPath();
        List<Jdk> all = new ArrayList<>(List.of(new Jdk(own, Runtime.version().feature())));
        Jdk newest = null;
        for (Path home : candidates(own)) {
            Jdk jdk = of(home);
            if (jdk != null && jdk.version > 17 && (newest == null || jdk.version > newest.version)) {
                newest = jdk;
            }
        }
        if (newest != null && newest.version != all.get(0).version) {
            all.add(newest);
        }
        return all;
    }

    private static List<Path> candidates(Path own) throws IOException {
        String named = System.getProperty("merapi.strangers.jdks");
        if (named != null) {
            return Arrays.stream(named.split(File.pathSeparator)).map(Path::of).toList();
        }
        Path beside = own.getParent();
        if (beside == null) {
            return List.of();
        }
        try (Stream<Path> homes = Files.list(beside)) {
            return homes.toList();
        }
    }

    private static Jdk of(Path home) throws IOException {
        Path release = home.resolve("release");
        if (!Files.isRegularFile(release) || !Files.isExecutable(home.resolve("bin/java"))) {
            return null;
        }
        for (String line : Files.readAllLines(release)) {
            if (line.startsWith("JAVA_VERSION=")) {
                return new Jdk(home, Runtime.Version.parse(line.split("\"")[1]).feature());
            }
        }
        return null;
    }

    /** How a program ended. */
    record Run(int status, String out, String err) {
        /** What is on stderr besides the words of SLF4J, which finds no logger, about itself. */
        List<String> complaints() {
            return err.lines().filter(line -> !line.startsWith("SLF4J")).toList();
        }
    }

    /** Runs a program of this JDK. */
    Run run(String program, List<String> arguments) throws IOException, InterruptedException {
        List<String> command =
                new ArrayList<>(List.of(home.resolve("bin").resolve(program).toString()));
        command.addAll(arguments);
        return run(Path.of("").toAbsolutePath(), command);
    }

    static Run run(Path folder, List<String> command) throws IOException, InterruptedException {
        Path out = Files.createTempFile("out", ".txt");
        Path err = Files.createTempFile("err", ".txt");
        try {
            ProcessBuilder builder = new ProcessBuilder(command)
                    .directory(folder.toFile())
                    .redirectOutput(out.toFile())
                    .redirectError(err.toFile());
            builder.environment().keySet().removeAll(List.of("JAVA_TOOL_OPTIONS", "MAVEN_OPTS", "JDK_JAVA_OPTIONS"));
            Process process = builder.start();
            if (!process.waitFor(3, TimeUnit.MINUTES)) {
                process.destroyForcibly().waitFor();
                throw new AssertionError(
                        "not finished: " + command + "\n" + Files.readString(out) + Files.readString(err));
            }
            return new Run(process.exitValue(), Files.readString(out), Files.readString(err));
        } finally {
            Files.delete(out);
            Files.delete(err);
        }
    }
}
