// SPDX-License-Identifier: Apache-2.0
package dev.merapi.strangers;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.apache.ivy.Ivy;
import org.apache.ivy.core.module.id.ModuleRevisionId;
import org.apache.ivy.core.report.ArtifactDownloadReport;
import org.apache.ivy.core.report.ResolveReport;
import org.apache.ivy.core.resolve.ResolveOptions;
import org.apache.ivy.core.settings.IvySettings;
import org.apache.ivy.plugins.resolver.ChainResolver;
import org.apache.ivy.plugins.resolver.IBiblioResolver;
import org.apache.ivy.util.DefaultMessageLogger;
import org.apache.ivy.util.Message;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tools that know no profiles of Maven's, such as Gradle, sbt and Ivy, find the same jars as Maven does. */
final class IvyResolutionTest {
    @TempDir
    Path cache;

    @Test
    void findsWhatMavenFinds() throws Exception {
        IvySettings settings = new IvySettings();
        settings.setDefaultCache(cache.toFile());
        settings.setDefaultUseOrigin(true);
        ChainResolver both = new ChainResolver();
        both.setName("both");
        both.add(repository("staged", Staged.repository(), settings));
        both.add(repository("others", Path.of(System.getProperty("merapi.strangers.local")), settings));
        settings.addResolver(both);
        settings.setDefaultResolver("both");
        Ivy ivy = Ivy.newInstance(settings);
        ivy.getLoggerEngine().setDefaultLogger(new DefaultMessageLogger(Message.MSG_ERR));

        ResolveReport report = ivy.resolve(
                ModuleRevisionId.newInstance("dev.merapi", "merapi", Staged.VERSION),
                new ResolveOptions().setConfs(new String[] {"runtime", "master"}),
                false);
        assertThat(report.getAllProblemMessages()).isEmpty();
        List<String> found = Arrays.stream(report.getAllArtifactsReports())
                .map(ArtifactDownloadReport::getLocalFile)
                .map(file -> file.getName())
                .distinct()
                .sorted()
                .toList();
        assertThat(found)
                .containsExactlyElementsOf(Stranger.built().jars().stream()
                        .map(jar -> jar.getFileName().toString())
                        .sorted()
                        .toList());
    }

    private static IBiblioResolver repository(String name, Path root, IvySettings settings) {
        IBiblioResolver resolver = new IBiblioResolver();
        resolver.setSettings(settings);
        resolver.setName(name);
        resolver.setM2compatible(true);
        resolver.setUsepoms(true);
        resolver.setUseMavenMetadata(false);
        resolver.setRoot(root.toUri().toString());
        return resolver;
    }
}
