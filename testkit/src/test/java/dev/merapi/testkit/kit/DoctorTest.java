// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.Doctor;
import dev.merapi.Merapi;
import dev.merapi.backend.Backends;
import dev.merapi.types.DeviceType;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class DoctorTest {
    @Test
    void itSaysOfEachThingThatItIsRightOrWhatToDo() {
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        boolean healthy = Doctor.examine(new PrintStream(said, true, StandardCharsets.UTF_8), true);
        String text = said.toString(StandardCharsets.UTF_8);
        boolean natives = !Backends.of(DeviceType.CPU).description().startsWith("plain Java");
        assertThat(healthy).isEqualTo(natives || Boolean.getBoolean("merapi.cpu.java"));
        assertThat(text.lines().takeWhile(line -> !line.isEmpty()))
                .allMatch(line -> line.matches("(ok|--|!!) {2}\\S.*|\\s{17}\\S.*"))
                .anyMatch(line -> line.startsWith("ok  merapi       " + Merapi.version()))
                .anyMatch(line -> line.matches((healthy ? "ok" : "!!") + "  cpu .*"));
        assertThat(text).contains("jars: ");
    }
}
