// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.cuda.Cuda;
import dev.merapi.types.Device;
import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.platform.engine.FilterResult;
import org.junit.platform.engine.discovery.ClassNameFilter;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.PostDiscoveryFilter;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs tests where there is no Maven: {@code TestRun TAGS FOLDERS [CLASS | CLASS#METHOD]…}, with JUnit's expression of tags,
 * folders or jars of tests in the form of a class path, and parts of names of classes. What has happened is told as it happens
 * ({@link TestTally}), so that nothing is lost if the run ends early; {@code -Dmerapi.tests.results} names a file that gets it as
 * JSON lines.
 */
final class TestRun {
    private TestRun() {}

    public static void main(String[] args) throws IOException {
        String results = System.getProperty("merapi.tests.results");
        TestTally tally = new TestTally(System.out, results == null ? null : Path.of(results));
        // Also where the run is stopped.
        Runtime.getRuntime().addShutdownHook(new Thread(tally::close));
        Set<Path> folders = new LinkedHashSet<>();
        for (String folder : args[1].split(File.pathSeparator)) {
            folders.add(Path.of(folder).toRealPath()); // JUnit does not look behind links
        }
        List<String> names = List.of(args).subList(2, args.length);
        Launcher launcher = LauncherFactory.create();
        TestPlan plan = launcher.discover(LauncherDiscoveryRequestBuilder.request()
                .selectors(DiscoverySelectors.selectClasspathRoots(folders))
                .filters(
                        ClassNameFilter.includeClassNamePatterns(pattern(names)),
                        TagFilter.includeTags(args[0]),
                        methods(names))
                .build());
        if (!plan.containsTests()) {
            System.err.println("No test was found: tags " + args[0] + ", names " + names);
            System.exit(2);
        }
        if (Boolean.getBoolean("require.gpu") && Cuda.isAvailable() && NullCuda.isOne(Device.of("cuda"))) {
            tally.note("the driver runs no kernel: what they compute is not judged");
        }
        launcher.execute(plan, tally);
        System.exit(tally.failures() == 0 ? 0 : 1);
    }

    private static String pattern(List<String> names) {
        return names.isEmpty()
                ? ".*Test"
                : names.stream()
                        .map(name -> ".*" + name.replaceFirst("#.*", "") + "[^$]*")
                        .collect(Collectors.joining("|"));
    }

    /** Of a class that is named with methods only these. */
    private static PostDiscoveryFilter methods(List<String> names) {
        return descriptor -> {
            MethodSource method = descriptor
                    .getSource()
                    .filter(MethodSource.class::isInstance)
                    .map(MethodSource.class::cast)
                    .orElse(null);
            return FilterResult.includedIf(method == null
                    || names.isEmpty()
                    || names.stream().anyMatch(name -> {
                        String[] parts = name.split("#", 2);
                        return method.getClassName().contains(parts[0])
                                && (parts.length == 1 || parts[1].equals(method.getMethodName()));
                    }));
        };
    }
}
