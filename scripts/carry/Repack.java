// SPDX-License-Identifier: Apache-2.0

import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/**
 * Rewrites jars and folders of classes as jars without compression, so that what packs the whole sees their content; in
 * one order and with one date, so that the same content gives the same bytes. Native libraries lose their symbols.
 *
 * <p>{@code java Repack.java SCRATCH-FOLDER DROP-PATTERN}, and on standard input a line for each jar to write: its path, a
 * tab, and the jar or folder it is made from.
 */
final class Repack {
    /** The beginning of 1980 is what the format can say at the earliest; zones may shift that by a day. */
    private static final long DATE = 315_705_600_000L;

    private final Path scratch;
    private final Pattern drop;

    private Repack(Path scratch, Pattern drop) {
        this.scratch = scratch;
        this.drop = drop;
    }

    public static void main(String[] args) throws IOException, InterruptedException {
        Repack repack = new Repack(Path.of(args[0]), Pattern.compile(args[1]));
        try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                String[] parts = line.split("\t");
                Path source = Path.of(parts[1]);
                repack.write(Path.of(parts[0]), Files.isDirectory(source) ? folder(source) : jar(source));
            }
        }
    }

    private static Map<String, byte[]> folder(Path root) throws IOException {
        Map<String, byte[]> entries = new TreeMap<>();
        try (Stream<Path> files = Files.walk(root)) {
            for (Path file : (Iterable<Path>) files.filter(Files::isRegularFile)::iterator) {
                entries.put(root.relativize(file).toString().replace('\\', '/'), Files.readAllBytes(file));
            }
        }
        return entries;
    }

    private static Map<String, byte[]> jar(Path jar) throws IOException {
        Map<String, byte[]> entries = new TreeMap<>();
        try (ZipFile zip = new ZipFile(jar.toFile())) {
            zip.stream().filter(entry -> !entry.isDirectory()).forEach(entry -> {
                try (InputStream in = zip.getInputStream(entry)) {
                    entries.put(entry.getName(), in.readAllBytes());
                } catch (IOException e) {
                    throw new UncheckedIOException(jar + ": " + entry.getName(), e);
                }
            });
        }
        return entries;
    }

    private void write(Path target, Map<String, byte[]> entries) throws IOException, InterruptedException {
        try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(target));
                ZipOutputStream zip = new ZipOutputStream(out)) {
            zip.setMethod(ZipOutputStream.STORED);
            for (Map.Entry<String, byte[]> e : entries.entrySet()) {
                String name = e.getKey();
                if (drop.matcher(name).find()) {
                    continue;
                }
                byte[] bytes = name.matches(".*\\.so(\\.\\d+)*") ? stripped(e.getValue()) : e.getValue();
                CRC32 sum = new CRC32();
                sum.update(bytes);
                ZipEntry entry = new ZipEntry(name);
                entry.setTime(DATE);
                entry.setSize(bytes.length);
                entry.setCrc(sum.getValue());
                zip.putNextEntry(entry);
                zip.write(bytes);
            }
        }
    }

    private byte[] stripped(byte[] library) throws IOException, InterruptedException {
        Path file = scratch.resolve("library.so");
        Files.write(file, library);
        Process strip = new ProcessBuilder(List.of("strip", "--strip-unneeded", file.toString()))
                .inheritIO()
                .start();
        boolean done = strip.waitFor(1, TimeUnit.MINUTES) && strip.exitValue() == 0;
        return done ? Files.readAllBytes(file) : library;
    }
}
