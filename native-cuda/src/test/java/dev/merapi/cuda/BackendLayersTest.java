// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static com.tngtech.archunit.library.Architectures.layeredArchitecture;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.library.Architectures.LayeredArchitecture;
import dev.merapi.testkit.BackendLayers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** The rooms of this module: what each may know, and what users see. */
class BackendLayersTest {
    private static final String BASE = "dev.merapi.cuda";
    private static final JavaClasses CLASSES = new ClassFileImporter()
            .importUrl(Cuda.class.getProtectionDomain().getCodeSource().getLocation()); // without tests

    /** Each with those that it may know, which come before it. */
    private static final Map<String, List<String>> ROOMS = rooms();

    private static Map<String, List<String>> rooms() {
        Map<String, List<String>> all = new LinkedHashMap<>();
        all.put(BASE + ".host", List.of());
        all.put(BASE + ".runtime", known("host"));
        all.put(BASE + ".driver", known("host", "runtime"));
        all.put(BASE + ".sim", known("host", "runtime"));
        all.put(BASE + ".print", known("host", "runtime"));
        all.put(BASE + ".launch", known("host", "runtime", "print"));
        all.put(BASE + ".kernels", known("host", "runtime", "print", "launch"));
        all.put(BASE + ".backend", List.copyOf(all.keySet()));
        all.put(BASE + ".report", List.copyOf(all.keySet()));
        all.put(BASE, known("host", "runtime", "driver", "sim", "launch", "backend"));
        return all;
    }

    private static List<String> known(String... rooms) {
        return List.of(rooms).stream().map(r -> BASE + "." + r).toList();
    }

    @Test
    void kernelsKnowNoGraph() {
        BackendLayers.check(BASE);
    }

    @Test
    void roomsKnowOnlyThoseBeforeThem() {
        LayeredArchitecture house = layeredArchitecture().consideringOnlyDependenciesInLayers();
        for (String room : ROOMS.keySet()) {
            house = house.layer(room).definedBy(room);
        }
        for (Map.Entry<String, List<String>> room : ROOMS.entrySet()) {
            LayeredArchitecture.LayerDependencySpecification here = house.whereLayer(room.getKey());
            house = room.getValue().isEmpty()
                    ? here.mayNotAccessAnyLayer()
                    : here.mayOnlyAccessLayers(room.getValue().toArray(new String[0]));
        }
        house.ensureAllClassesAreContainedInArchitecture().check(CLASSES);
    }

    @Test
    void thereAreNoCircles() {
        slices().matching("dev.merapi.(**)").should().beFreeOfCycles().check(CLASSES);
    }

    @Test
    void usersSeeTwoClasses() {
        assertThat(CLASSES.stream()
                        .filter(c -> c.getPackageName().equals(BASE)
                                && c.isTopLevelClass()
                                && c.getModifiers().contains(JavaModifier.PUBLIC))
                        .map(JavaClass::getSimpleName))
                .containsExactlyInAnyOrder("Cuda", "CudaSim");
    }

    @Test
    void theModuleExportsThemAndTheSeam() throws IOException {
        String text = Files.readString(Path.of("src", "main", "java", "module-info.java"));
        assertThat(Pattern.compile("exports ([\\w.]+)(?:\\s+to\\s+([\\w.]+))?;")
                        .matcher(text)
                        .results()
                        .map(BackendLayersTest::export))
                .containsExactlyInAnyOrder(
                        BASE, BASE + ".backend", BASE + ".runtime", BASE + ".report to dev.merapi.benchmarks");
    }

    private static String export(MatchResult m) {
        return m.group(1) + (m.group(2) == null ? "" : " to " + m.group(2));
    }
}
