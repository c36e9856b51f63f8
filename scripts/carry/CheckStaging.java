// SPDX-License-Identifier: Apache-2.0

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Enumeration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * Checks a staging folder: {@code CheckStaging FOLDER VERSION all|this BUILD-FOLDER}. All that a public repository asks for is
 * there, every jar may be passed on, natives are in their jars, and nothing tells where it was built.
 */
class CheckStaging {
    private static final List<String> PLATFORMS =
            List.of("linux-x86_64", "linux-arm64", "macosx-arm64", "windows-x86_64");

    /** Classifiers of natives by artifact; a null list is a POM alone. */
    private static final Map<String, List<String>> ARTIFACTS = Map.of(
            "merapi", List.of(),
            "merapi-core", List.of(),
            "merapi-testkit", List.of(),
            "merapi-native-cpu", PLATFORMS,
            "merapi-openblas", List.of(),
            "merapi-native-cuda", List.of("linux-x86_64"));

    private final Path folder;
    private final String version;
    private final boolean allNatives;
    private final String builtIn;
    private final List<String> wrong = new ArrayList<>();
    private int jars;

    private CheckStaging(String[] args) {
        folder = Path.of(args[0]).resolve("dev/merapi");
        version = args[1];
        allNatives = args[2].equals("all");
        builtIn = args[3];
    }

    public static void main(String[] args) throws IOException {
        new CheckStaging(args).check();
    }

    private void check() throws IOException {
        pom("merapi-bom");
        for (Map.Entry<String, List<String>> artifact : ARTIFACTS.entrySet()) {
            String name = artifact.getKey();
            pom(name);
            jar(name, "");
            jar(name, "-sources");
            jar(name, "-javadoc");
            there(name, "-cyclonedx.json");
            for (String platform : artifact.getValue()) {
                if (jar(name, "-" + platform) && !hasLibrary(file(name, "-" + platform + ".jar"))) {
                    if (allNatives) {
                        wrong.add(name + ": no library in the jar of " + platform);
                    } else {
                        System.out.println("stand-in: " + name + ", " + platform);
                    }
                }
            }
        }
        try (Stream<Path> known = Files.list(folder)) {
            known.map(p -> p.getFileName().toString())
                    .filter(n -> !n.equals("merapi-bom") && !ARTIFACTS.containsKey(n))
                    .forEach(n -> wrong.add(n + ": not known; it is to be published?"));
        }
        wrong.forEach(System.out::println);
        System.out.println(jars + " jars checked, " + wrong.size() + " things wrong");
        System.exit(wrong.isEmpty() ? 0 : 1);
    }

    private Path file(String artifact, String rest) {
        return folder.resolve(artifact).resolve(version).resolve(artifact + "-" + version + rest);
    }

    private boolean there(String artifact, String rest) {
        for (String sum : List.of("", ".md5", ".sha1", ".sha256")) {
            if (!Files.isRegularFile(Path.of(file(artifact, rest) + sum))) {
                wrong.add(artifact + ": no " + artifact + "-" + version + rest + sum);
                return false;
            }
        }
        return true;
    }

    private void pom(String artifact) throws IOException {
        if (!there(artifact, ".pom")) {
            return;
        }
        String text = Files.readString(file(artifact, ".pom"));
        for (String needed : List.of("<name>", "<description>", "<url>", "<licenses>", "<developers>", "<scm")) {
            if (!text.contains(needed)) {
                wrong.add(artifact + ": the POM has no " + needed);
            }
        }
        for (String bad : List.of("${", "<parent>", "<profile", "<repositor", "-SNAPSHOT", builtIn)) {
            if (text.contains(bad)) {
                wrong.add(artifact + ": the POM has " + bad);
            }
        }
    }

    private boolean jar(String artifact, String classifier) throws IOException {
        if (!there(artifact, classifier + ".jar")) {
            return false;
        }
        jars++;
        String name = artifact + classifier;
        try (ZipFile zip = new ZipFile(file(artifact, classifier + ".jar").toFile())) {
            for (String needed : List.of("LICENSE", "NOTICE", "THIRD-PARTY.txt")) {
                if (zip.getEntry("META-INF/" + needed) == null) {
                    wrong.add(name + ": no META-INF/" + needed);
                }
            }
            boolean hasVersion = false;
            for (Enumeration<? extends ZipEntry> e = zip.entries(); e.hasMoreElements(); ) {
                ZipEntry entry = e.nextElement();
                try (InputStream in = zip.getInputStream(entry)) {
                    String bytes = new String(in.readAllBytes(), StandardCharsets.ISO_8859_1);
                    if (bytes.contains(builtIn)) {
                        wrong.add(name + ": " + entry.getName() + " tells where it was built");
                    }
                    hasVersion |= entry.getName().equals("META-INF/MANIFEST.MF")
                            && bytes.contains("Implementation-Version: " + version);
                }
            }
            if (!hasVersion && !classifier.equals("-sources") && !classifier.equals("-javadoc")) {
                wrong.add(name + ": the manifest does not say " + version);
            }
        }
        return true;
    }

    private static boolean hasLibrary(Path jar) throws IOException {
        try (ZipFile zip = new ZipFile(jar.toFile())) {
            return zip.stream().anyMatch(e -> e.getName().matches(".*\\.(so|dylib|dll)"));
        }
    }
}
