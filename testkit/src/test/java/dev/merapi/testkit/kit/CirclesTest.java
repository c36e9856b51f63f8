// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The circles that core has, by name: a new one fails, and so does one that is gone and still named here. */
@Tag("once")
class CirclesTest {
    private static final Path CORE = Path.of("../core/src/main/java");

    /** A tensor calls its ops, an op the dispatcher, and this makes tensors: one group, with the backends that compute. */
    private static final String[] ENGINE = {
        "dev.merapi.tensor..", "dev.merapi.op..", "dev.merapi.ops..", "dev.merapi.dispatch..", "dev.merapi.backend.."
    };

    /** The classes of several packages that import each other around: a thread has a scope, which closes tensors in trees. */
    private static final Set<Set<String>> CLASSES = Set.of(Set.of("Context", "Scope", "Tensor", "Tree"));

    @Test
    void packagesAreFreeOfCirclesButForTheEngine() {
        slices().matching("dev.merapi.(*)..")
                .should()
                .beFreeOfCycles()
                .ignoreDependency(resideInAnyPackage(ENGINE), resideInAnyPackage(ENGINE))
                .check(new ClassFileImporter()
                        .withImportOption(new ImportOption.DoNotIncludeTests())
                        .withImportOption(place -> place.contains("/core/") || place.contains("merapi-core"))
                        .importPackages("dev.merapi"));
    }

    @Test
    void classesOfDifferentPackagesImportEachOtherInTheseGroupsOnly() throws IOException {
        Map<String, Set<String>> imports = imports();
        assertThat(imports).hasSizeGreaterThan(300);
        Set<Set<String>> circles = new HashSet<>();
        Map<String, Set<String>> reached = new HashMap<>();
        imports.keySet().forEach(name -> reached.put(name, reach(name, imports)));
        for (String name : imports.keySet()) {
            Set<String> circle = new TreeSet<>();
            for (String other : reached.getOrDefault(name, Set.of())) {
                if (reached.getOrDefault(other, Set.of()).contains(name)) {
                    circle.add(other.substring(other.lastIndexOf('.') + 1));
                }
            }
            if (circle.size() > 1) {
                circles.add(circle);
            }
        }
        assertThat(circles).isEqualTo(CLASSES);
    }

    private static Set<String> reach(String from, Map<String, Set<String>> imports) {
        Set<String> found = new HashSet<>();
        Deque<String> open = new ArrayDeque<>(imports.getOrDefault(from, Set.of()));
        while (!open.isEmpty()) {
            String name = open.pop();
            if (found.add(name)) {
                open.addAll(imports.getOrDefault(name, Set.of()));
            }
        }
        return found;
    }

    private static Map<String, Set<String>> imports() throws IOException {
        Map<String, String> sources = new TreeMap<>();
        try (Stream<Path> files = Files.walk(CORE)) {
            for (Path file : files.filter(f -> f.toString().endsWith(".java")).toList()) {
                String name =
                        CORE.relativize(file).toString().replace('\\', '/').replace('/', '.');
                if (!name.contains("-info")) {
                    sources.put(name.substring(0, name.length() - ".java".length()), Files.readString(file));
                }
            }
        }
        Pattern line = Pattern.compile("^import (?:static )?(dev\\.merapi[.a-z]*\\.[A-Z]\\w*)", Pattern.MULTILINE);
        Map<String, Set<String>> imports = new TreeMap<>();
        sources.forEach((name, text) -> {
            Set<String> found = new TreeSet<>();
            Matcher m = line.matcher(text);
            while (m.find()) {
                if (sources.containsKey(m.group(1))) {
                    found.add(m.group(1));
                }
            }
            imports.put(name, found);
        });
        return imports;
    }
}
