// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where libraries are looked for, and in which order, with libraries that exist for these tests only. */
class CudaLibrariesTest {
    @BeforeAll
    static void compiler() {
        Simulator.require();
    }

    private static void build(Path library, String source, String... more) throws IOException, InterruptedException {
        Path text = Files.writeString(library.resolveSibling(library.getFileName() + ".c"), source);
        List<String> command = new ArrayList<>(
                List.of(System.getenv().getOrDefault("CXX", "g++"), "-xc", text.toString(), "-xnone", "-shared"));
        command.addAll(List.of("-fPIC", "-Wl,-soname," + library.getFileName(), "-o", library.toString()));
        command.addAll(List.of(more));
        assertEquals(0, new ProcessBuilder(command).inheritIO().start().waitFor());
    }

    @Test
    void theNewestToolkitComesFirst(@TempDir Path parent) throws IOException {
        for (String name : List.of("cuda-9.2", "cuda-13.0", "cuda-12.10", "cuda-12.9", "cudnn-9.1")) {
            Files.createDirectory(parent.resolve(name));
        }
        assertEquals(
                List.of("cuda-13.0", "cuda-12.10", "cuda-12.9", "cuda-9.2"),
                CudaLibraries.toolkits(parent).stream()
                        .map(p -> p.getFileName().toString())
                        .toList());
    }

    private static long open(String folders, String name, List<String> tried) {
        String before = System.getProperty("merapi.cuda.libraries");
        System.setProperty("merapi.cuda.libraries", folders);
        try {
            return CudaLibraries.open(
                    List.of("lib" + name + "-builtins.so"),
                    List.of("lib" + name + ".so.2", "lib" + name + ".so.1"),
                    tried);
        } finally {
            if (before == null) {
                System.clearProperty("merapi.cuda.libraries");
            } else {
                System.setProperty("merapi.cuda.libraries", before);
            }
        }
    }

    /** The library finds its builtins only if they are there before it: nothing tells the loader where they lie. */
    @Test
    void whatALibraryNeedsIsOpenedBeforeIt(@TempDir Path folder) throws IOException, InterruptedException {
        Path builtins = folder.resolve("libmerapi_order-builtins.so.1");
        build(builtins, "int merapi_order(void) { return 1; }\n");
        build(
                folder.resolve("libmerapi_order.so.1"),
                "int merapi_order(void);\nint merapi_use(void) { return merapi_order(); }\n",
                "-Wl,--no-as-needed",
                builtins.toString());
        assertNotEquals(0, open(folder.toString(), "merapi_order", new ArrayList<>()));
    }

    @Test
    void theFirstFolderServesAndInItTheNewestName(@TempDir Path first, @TempDir Path second)
            throws IOException, InterruptedException {
        build(first.resolve("libmerapi_first.so.1"), "int merapi_in_first_1;\n");
        build(first.resolve("libmerapi_first.so.2"), "int merapi_in_first_2;\n");
        build(second.resolve("libmerapi_first.so.2"), "int merapi_in_second_2;\n");
        List<String> tried = new ArrayList<>();
        long library = open(first + File.pathSeparator + second, "merapi_first", tried);
        assertNotEquals(0, library);
        try (HostMemory name = HostMemory.text("merapi_in_first_2")) {
            assertNotEquals(0, CudaNative.library_symbol(library, name.address()));
        }
    }

    @Test
    void everyPlaceThatWasTriedIsTold(@TempDir Path empty) {
        List<String> tried = new ArrayList<>();
        assertEquals(0, open(empty.toString(), "merapi_nowhere", tried));
        String all = String.join("\n", tried);
        assertTrue(tried.get(0).startsWith("class path: no "), all);
        assertTrue(all.contains(empty + ": no libmerapi_nowhere.so.2"), all);
        assertTrue(all.contains("libmerapi_nowhere.so.1: cannot open"), all);
    }
}
