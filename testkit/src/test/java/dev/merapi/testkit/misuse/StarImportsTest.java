// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.misuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.reflect.Modifier;
import java.net.URI;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Somebody who imports whole packages, ours beside Java's, finds no simple name that means two things. */
class StarImportsTest {
    private static final List<String> OF_JAVA =
            List.of("java.lang", "java.util", "java.util.function", "java.util.stream", "java.io", "java.nio.file");
    private static final Path SOURCES = Path.of("../core/src/main/java");

    @Test
    void noSimpleNameIsAmbiguous() throws Exception {
        Map<String, Set<String>> meanings = new TreeMap<>();
        for (String name : OF_JAVA) {
            Path classes =
                    FileSystems.getFileSystem(URI.create("jrt:/")).getPath("modules/java.base", name.replace('.', '/'));
            add(meanings, name, classes, ".class");
        }
        int ofJava = meanings.size();
        Matcher export =
                Pattern.compile("exports ([\\w.]+);").matcher(Files.readString(SOURCES.resolve("module-info.java")));
        while (export.find()) {
            add(meanings, export.group(1), SOURCES.resolve(export.group(1).replace('.', '/')), ".java");
        }
        assertTrue(ofJava > 300 && meanings.size() > ofJava + 100, () -> "too few types: " + meanings.keySet());
        meanings.values().removeIf(types -> types.size() == 1);
        assertEquals(Map.of(), meanings);
    }

    private static void add(Map<String, Set<String>> meanings, String packageName, Path folder, String ending)
            throws IOException, ClassNotFoundException {
        try (Stream<Path> files = Files.list(folder)) {
            for (String file : files.map(f -> f.getFileName().toString()).toList()) {
                if (!file.endsWith(ending) || file.contains("$") || file.contains("-info")) {
                    continue;
                }
                String name = file.substring(0, file.length() - ending.length());
                Class<?> type = Class.forName(packageName + "." + name, false, StarImportsTest.class.getClassLoader());
                if (Modifier.isPublic(type.getModifiers())) {
                    meanings.computeIfAbsent(name, n -> new TreeSet<>()).add(type.getName());
                }
            }
        }
    }
}
