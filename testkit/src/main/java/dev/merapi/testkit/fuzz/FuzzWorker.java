// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.types.Device;
import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.management.ManagementFactory;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/**
 * The fuzzer's command line: {@code [minutes] [series] [device]}, or {@code print seed}, {@code again seed}.
 *
 * <p>Programs run in a process of their own, which writes the number of the one that begins into a file that is mapped to
 * memory: when the process dies, or stands still, that number is still there, and the next process goes on behind it.
 */
public final class FuzzWorker {
    private static final Duration STILL = Duration.ofSeconds(120);
    private static final int FAULTS = 1;

    private FuzzWorker() {}

    public static void main(String[] args) throws IOException, InterruptedException {
        if (args.length > 0 && args[0].equals("worker")) {
            System.exit(work(
                    args[1], Long.parseLong(args[2]), Long.parseLong(args[3]), Double.parseDouble(args[4]), args[5]));
        }
        if (args.length > 1 && args[0].equals("print")) {
            System.out.println(new Fuzz(Device.CPU).print(Long.parseLong(args[1])));
            return;
        }
        if (args.length > 1 && args[0].equals("again")) {
            Fuzz fuzz = new Fuzz(Device.of(args.length > 2 ? args[2] : "cpu"));
            fuzz.one(Long.parseLong(args[1]));
            fuzz.reports().forEach(r -> System.out.println(r + "\n" + r.program()));
            System.exit(fuzz.reports().isEmpty() ? 0 : FAULTS);
        }
        double minutes = args.length > 0 ? Double.parseDouble(args[0]) : 1;
        long series = args.length > 1 ? Long.parseLong(args[1]) : System.nanoTime() & 0xffffff;
        System.exit(watch(args.length > 2 ? args[2] : "cpu", series, minutes));
    }

    // ---------------------------------------------------------------- the process that runs programs

    private static int work(String device, long series, long from, double seconds, String place) throws IOException {
        MappedByteBuffer now = map(Path.of(place));
        Fuzz fuzz = new Fuzz(Device.of(device));
        long[] next = {from};
        int[] told = {0};
        fuzz.onStart(seed -> {
            tell(fuzz, told);
            now.putLong(Long.BYTES, seed);
            now.putLong(0, next[0]++);
        });
        fuzz.run(series, from, Long.MAX_VALUE, (long) (seconds * 1e9));
        tell(fuzz, told);
        Map<String, Integer> seen = new TreeMap<>(fuzz.seen());
        seen.forEach((key, times) -> System.out.println("  " + times + " times: " + key));
        System.out.println(fuzz.coverage());
        return seen.isEmpty() ? 0 : FAULTS;
    }

    private static void tell(Fuzz fuzz, int[] told) {
        for (; told[0] < fuzz.reports().size(); told[0]++) {
            Fuzz.Report r = fuzz.reports().get(told[0]);
            System.out.println("FAULT " + r + "\n" + r.program());
        }
    }

    private static MappedByteBuffer map(Path file) throws IOException {
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            return f.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, 2 * Long.BYTES);
        }
    }

    // ---------------------------------------------------------------- the process that watches

    private static int watch(String device, long series, double minutes) throws IOException, InterruptedException {
        System.out.println("fuzz: series " + series + " on " + device + " for " + minutes + " minutes");
        Path file = Files.createTempFile("merapi-fuzz", ".now");
        MappedByteBuffer now = map(file);
        long begin = System.nanoTime();
        long from = 0;
        int status = 0;
        while (true) {
            double left = minutes * 60 - (System.nanoTime() - begin) / 1e9;
            if (left <= 0) {
                break;
            }
            Process process = start(device, series, from, left, file);
            boolean still = !finished(process, now);
            int code = still ? -1 : process.exitValue();
            if (code == 0 || code == FAULTS) {
                status |= code;
                from = now.getLong(0) + 1;
                break;
            }
            long seed = now.getLong(Long.BYTES);
            System.out.println("FAULT " + Finding.Kind.CRASH + " (seed " + seed + "): the process "
                    + (still ? "stood still" : "ended with status " + code));
            System.out.println(printed(seed));
            status = FAULTS;
            from = now.getLong(0) + 1;
        }
        Files.deleteIfExists(file);
        System.out.println(
                "fuzz: series " + series + ", " + from + " programs in " + Math.round((System.nanoTime() - begin) / 1e9)
                        + " s, " + (status == 0 ? "no fault" : "faults: see above"));
        return status;
    }

    private static Process start(String device, long series, long from, double seconds, Path file) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(System.getProperty("java.home") + File.separator + "bin" + File.separator + "java");
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), FuzzWorker.class.getName(), "worker"));
        command.addAll(List.of(device, "" + series, "" + from, "" + seconds, file.toString()));
        return new ProcessBuilder(command).inheritIO().start();
    }

    /** False if it began no other program for a while. */
    private static boolean finished(Process process, MappedByteBuffer now) throws InterruptedException {
        long last = -1;
        long since = System.nanoTime();
        while (!process.waitFor(500, TimeUnit.MILLISECONDS)) {
            long at = now.getLong(0);
            if (at != last) {
                last = at;
                since = System.nanoTime();
            } else if (System.nanoTime() - since > STILL.toNanos()) {
                process.destroyForcibly().waitFor();
                return false;
            }
        }
        return true;
    }

    private static String printed(long seed) throws InterruptedException {
        String[] text = {"  (on plain Java it stands still too)"};
        Thread t = new Thread(() -> text[0] = new Fuzz(Device.CPU).print(seed));
        t.setDaemon(true);
        t.start();
        t.join(STILL.toMillis());
        return text[0];
    }
}
