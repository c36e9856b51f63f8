// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Names, parameters and numbers of NVIDIA's that are written down in our sources, beside those of its headers: a name that
 * is wrong is found when the library is opened, but a parameter or a number only by what it breaks.
 */
class CudaNumbersTest {
    private static final String PRESETS = "org.bytedeco.cuda.global.";
    private static final Path SOURCES = Path.of("src", "main", "cpp");

    private static PresetClass driver = new PresetClass(Map.of(), Map.of());
    private static PresetClass blas = driver;
    private static PresetClass nvrtc = driver;

    @BeforeAll
    static void presets() throws IOException {
        PresetClass found = PresetClass.read(PRESETS + "cudart");
        assumeTrue(found != null, "skipped: org.bytedeco:cuda is not on the class path");
        driver = java.util.Objects.requireNonNull(found);
        blas = java.util.Objects.requireNonNull(PresetClass.read(PRESETS + "cublas"));
        nvrtc = java.util.Objects.requireNonNull(PresetClass.read(PRESETS + "nvrtc"));
    }

    private static String source(String name) throws IOException {
        Path file = SOURCES.resolve(name);
        assumeTrue(Files.exists(file), "skipped: the native sources are not here");
        return Files.readString(file);
    }

    private static void number(String name, int ours) {
        Integer theirs = driver.constants().getOrDefault(name, blas.constants().get(name));
        assertNotNull(theirs, "no header has " + name);
        assertEquals(theirs, ours, name);
    }

    @Test
    void numbersOfTheNativeCode() throws IOException {
        Matcher line = Pattern.compile("(?m)^ +(C\\w+) = (-?\\d+),$").matcher(source("cuda_numbers.h"));
        int count = 0;
        for (; line.find(); count++) {
            number(line.group(1), Integer.parseInt(line.group(2)));
        }
        assertEquals(source("cuda_numbers.h").split(" = ", -1).length - 1, count, "lines that are not understood");
        assertTrue(count > 20, "only " + count);
    }

    @Test
    void numbersOfJava() throws IllegalAccessException {
        for (Field f : CudaNumbers.class.getDeclaredFields()) {
            if (f.getType() == int.class) {
                number(f.getName(), f.getInt(null));
            }
        }
    }

    @Test
    void theDriversFunctions() throws IOException {
        functions(Driver.FUNCTIONS, "driver.cpp", driver, "cudart");
    }

    @Test
    void theCompilersFunctions() throws IOException {
        functions(Nvrtc.FUNCTIONS, "nvrtc.cpp", nvrtc, "nvrtc");
    }

    @Test
    void theFunctionsOfCublasLt() throws IOException {
        functions(CublasLt.FUNCTIONS, "blas.cpp", blas, "cublas");
    }

    /**
     * What cuBLASLt writes for us to read. No class file has sizes and offsets; what the preset's own library was compiled to
     * has: {@code new} wants a size, and what reads a member adds its offset.
     */
    @Test
    void theStructOfAHeuristicsResult() throws IOException {
        String blas = source("blas.cpp");
        String class_ = "Java_org_bytedeco_cuda_cublas_cublasLtMatmulHeuristicResult_1t_";
        byte[] allocate = code("cublas", class_ + "allocate");
        int at = 0;
        while (allocate[at] != (byte) 0xbf) { // mov edi, a number: the first argument
            at++;
        }
        int size = ByteBuffer.wrap(allocate).order(ByteOrder.LITTLE_ENDIAN).getInt(at + 1);
        assertTrue(blas.contains("static_assert(sizeof(Heuristic) == " + size + ", "), "the header's has " + size);
        Matcher member = Pattern.compile("static_assert\\(offsetof\\(Heuristic, \\w+\\) == (\\d+), \"(\\w+)\"\\)")
                .matcher(blas);
        int count = 0;
        for (; member.find(); count++) {
            Set<Integer> offsets = offsets(code("cublas", class_ + member.group(2) + "__"));
            assertEquals(Set.of(Integer.valueOf(member.group(1))), offsets, member.group(2));
        }
        assertEquals(3, count, "members that are read");
    }

    /** Small numbers that are added to a base and rax, the index that a preset's pointer has, where memory is read. */
    private static Set<Integer> offsets(byte[] code) {
        Set<Integer> all = new HashSet<>();
        for (int i = 2; i + 2 < code.length; i++) {
            boolean pad = code[i - 2] == 0x0f && code[i - 1] == 0x1f;
            if ((code[i] & 0xc7) == 0x44 && (code[i + 1] & 0xf8) == 0 && !pad) {
                all.add((int) code[i + 2]);
            }
        }
        return all;
    }

    /** The probe calls before there is a table. */
    @Test
    void theProbesFunctions() throws IOException {
        Matcher call = Pattern.compile("function<int \\(\\*\\)\\((.*?)\\)>\\(driver\\(\\), \"(\\w+)\"\\)")
                .matcher(source("host.cpp"));
        int count = 0;
        for (; call.find(); count++) {
            assertParameters(call.group(2), sizes(call.group(1)), driver);
        }
        assertEquals(source("host.cpp").split("\"cu[A-Z]", -1).length - 1, count);
        assertTrue(count > 2, "only " + count);
    }

    private static void functions(List<String> names, String file, PresetClass preset, String library)
            throws IOException {
        List<List<Integer>> declared = declared(source(file));
        assertEquals(names.size(), declared.size(), file + " has as many functions as the table");
        Set<String> symbols = symbols(library);
        for (int i = 0; i < names.size(); i++) {
            // A header renames some: who calls cuMemAlloc calls cuMemAlloc_v2. The compiled preset has the name itself.
            assertTrue(
                    symbols.contains(names.get(i)), "whoever compiles with the headers does not call " + names.get(i));
            assertParameters(names.get(i), declared.get(i), preset);
        }
    }

    private static void assertParameters(String name, List<Integer> ours, PresetClass preset) {
        String plain = name.replaceAll("_v\\d+$", "").replace("InstantiateWithFlags", "Instantiate");
        List<List<Integer>> theirs = preset.functions().get(plain);
        assertNotNull(theirs, "no header has " + plain);
        assertTrue(theirs.contains(ours), name + ": bytes of our parameters " + ours + ", of the header's " + theirs);
    }

    /** What the preset's own library asks of NVIDIA's: undefined symbols of a 64-bit ELF file. */
    private static Set<String> symbols(String library) throws IOException {
        String name = "/org/bytedeco/cuda/linux-x86_64/libjni" + library + ".so";
        try (InputStream in = CudaNumbersTest.class.getResourceAsStream(name)) {
            assumeTrue(in != null, "skipped: " + name + " is not on the class path");
            byte[] bytes = java.util.Objects.requireNonNull(in).readAllBytes();
            ByteBuffer elf = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
            int sections = (int) elf.getLong(40);
            Set<String> wanted = new HashSet<>();
            for (int i = 0; i < elf.getShort(60); i++) {
                int section = sections + i * 64;
                if (elf.getInt(section + 4) == 11) { // SHT_DYNSYM
                    int table = (int) elf.getLong(section + 24);
                    int texts = (int) elf.getLong(sections + elf.getInt(section + 40) * 64 + 24);
                    for (int s = table; s < table + elf.getLong(section + 32); s += 24) {
                        if (elf.getShort(s + 6) == 0) { // not defined here
                            wanted.add(text(bytes, texts + elf.getInt(s)));
                        }
                    }
                }
            }
            return wanted;
        }
    }

    /** The instructions of a function of the preset's own library, an ELF file for x86-64. */
    private static byte[] code(String library, String function) throws IOException {
        String name = "/org/bytedeco/cuda/linux-x86_64/libjni" + library + ".so";
        try (InputStream in = CudaNumbersTest.class.getResourceAsStream(name)) {
            assumeTrue(in != null, "skipped: " + name + " is not on the class path");
            byte[] bytes = java.util.Objects.requireNonNull(in).readAllBytes();
            ByteBuffer elf = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
            int sections = (int) elf.getLong(40);
            for (int i = 0; i < elf.getShort(60); i++) {
                int section = sections + i * 64;
                if (elf.getInt(section + 4) != 11) { // SHT_DYNSYM
                    continue;
                }
                int table = (int) elf.getLong(section + 24);
                int texts = (int) elf.getLong(sections + elf.getInt(section + 40) * 64 + 24);
                for (int s = table; s < table + elf.getLong(section + 32); s += 24) {
                    int where = elf.getShort(s + 6);
                    if (where > 0 && text(bytes, texts + elf.getInt(s)).equals(function)) {
                        int home = sections + where * 64;
                        int begin = (int) (elf.getLong(s + 8) - elf.getLong(home + 16) + elf.getLong(home + 24));
                        return java.util.Arrays.copyOfRange(bytes, begin, begin + (int) elf.getLong(s + 16));
                    }
                }
            }
        }
        throw new AssertionError(name + " has no " + function);
    }

    private static String text(byte[] bytes, int begin) {
        int end = begin;
        while (bytes[end] != 0) {
            end++;
        }
        return new String(bytes, begin, end - begin, StandardCharsets.ISO_8859_1);
    }

    /** Bytes of the parameters of the functions in a source's {@code struct Functions}, in their order. */
    private static List<List<Integer>> declared(String source) {
        int begin = source.indexOf("struct Functions {");
        String table = source.substring(begin, source.indexOf("};", begin));
        List<List<Integer>> all = new ArrayList<>();
        Matcher member = Pattern.compile("(?:int|size_t) \\(\\*\\w+\\)\\((.*?)\\);", Pattern.DOTALL)
                .matcher(table);
        while (member.find()) {
            all.add(sizes(member.group(1)));
        }
        return all;
    }

    private static List<Integer> sizes(String parameters) {
        List<Integer> sizes = new ArrayList<>();
        for (String p : parameters.isBlank() ? new String[0] : parameters.split(",")) {
            String type = p.strip();
            boolean wide = type.contains("*")
                    || type.matches("(Handle|Object|Program|Address|size_t|u?int64_t|unsigned long long)\\b.*");
            sizes.add(wide ? 8 : type.startsWith("unsigned char") ? 1 : 4);
        }
        return sizes;
    }
}
