// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the scripts do where a JDK, Maven and a compiler are missing, on a PATH that has a package manager and little else. */
final class SetupScriptTest {
    private static final List<String> THERE =
            List.of("bash", "dirname", "sed", "awk", "grep", "cat", "chmod", "mkdir", "tail");

    @TempDir
    Path bin;

    @BeforeEach
    void tools() throws IOException {
        assumeTrue(System.getProperty("os.name").equals("Linux"), "the PATH of a Linux machine");
        for (String tool : THERE) {
            for (String folder : List.of("/bin", "/usr/bin")) {
                if (Files.exists(Path.of(folder, tool))) {
                    script(tool, "exec " + folder + "/" + tool + " \"$@\"");
                }
            }
        }
        script("uname", "echo Linux");
        // Installs what it is asked for.
        script("apt-get", """
                [[ $1 == install ]] || exit 0
                echo "apt-get $*" >>"$BIN/installed"
                for name; do
                    case $name in
                        *jdk) printf '#!/bin/bash\\necho javac 17.0.1\\n' >"$BIN/javac" ;;
                        maven) printf '#!/bin/bash\\necho Apache Maven 3.9.9\\n' >"$BIN/mvn" ;;
                        g++) printf '#!/bin/bash\\n' >"$BIN/g++" ;;
                    esac
                done
                chmod +x "$BIN"/{javac,mvn,g++}
                """);
        script("sudo", "echo sudo >>\"$BIN/installed\"; \"$@\"");
    }

    private void script(String name, String text) throws IOException {
        assertThat(Files.writeString(bin.resolve(name), "#!/bin/bash\n" + text + "\n")
                        .toFile()
                        .setExecutable(true))
                .isTrue();
    }

    @Test
    void rootInstallsWhatIsMissingAtOnce() throws Exception {
        script("id", "echo 0");
        assertThat(need(""))
                .contains("No JDK: ", "No Maven: ", "No C++ compiler: ", ": apt-get update")
                .endsWith("ready");
        assertThat(Files.readAllLines(bin.resolve("installed"))).hasSize(1);
    }

    @Test
    void anybodyElseGetsOneLineToPaste() throws Exception {
        script("id", "echo 1000");
        String said = need("");
        assertThat(said.lines()
                        .filter(l -> l.contains("sudo apt-get install -y"))
                        .toList())
                .hasSize(1);
        assertThat(said).contains("--install").doesNotContain("ready");
        assertThat(bin.resolve("installed")).doesNotExist();
    }

    @Test
    void askedToInstallItTakesSudo() throws Exception {
        script("id", "echo 1000");
        assertThat(need("install=yes;")).endsWith("ready");
        assertThat(Files.readAllLines(bin.resolve("installed"))).contains("sudo");
    }

    @Test
    void whatIsThereIsNotTouched() throws Exception {
        script("id", "echo 1000");
        script("javac", "echo javac 21.0.1");
        script("mvn", "echo Apache Maven 3.8.1");
        script("g++", "");
        assertThat(need("")).isEqualTo("ready");
        script("javac", "echo javac 11.0.1");
        assertThat(need(""))
                .contains("The JDK is too old: javac has version 11")
                .doesNotContain("maven g++");
    }

    private String need(String before) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                "/bin/bash",
                "-c",
                "set -euo pipefail; source scripts/common.sh; " + before + " need java maven compiler; echo ready"));
        ProcessBuilder builder =
                new ProcessBuilder(command).directory(Documents.ROOT.toFile()).redirectErrorStream(true);
        Map<String, String> environment = builder.environment();
        environment.clear();
        environment.put("PATH", bin.toString());
        environment.put("BIN", bin.toString());
        Process process = builder.start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        return said.strip();
    }
}
