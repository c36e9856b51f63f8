// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.cuda.runtime.Epilogues;
import dev.merapi.cuda.runtime.Epilogues.Epilogue;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** What is switched for which question; the clock says how many epilogues were on. */
class EpilogueQuestionsTest {
    @Test
    void eachInOneAndApart() {
        Set<Epilogue> before = Epilogues.used();
        Map<String, Double> answers = new LinkedHashMap<>();
        DeviceSizes.GptSizes gpt = new DeviceSizes.GptSizes(12, 768, 12, 50304, 16, 1024);
        new EpilogueQuestions(gpt, (asked, rows, in, out) -> {
                    assertEquals(16384, rows);
                    return (Epilogues.used().contains(asked) ? 10 : 0)
                            + Epilogues.used().size();
                })
                .ask((key, unit, question) -> answers.put(key, question.answer() * 1e-6));
        assertEquals(40, answers.size());
        for (String shape : new String[] {"768_2304", "768_768", "768_3072", "3072_768"}) {
            for (String epilogue : new String[] {"bias", "gelu", "dgelu", "dgelu_bgrad", "bgrad"}) {
                String key = "epilogue_" + epilogue + "_" + shape;
                int all = epilogue.equals("dgelu") ? 4 : 5;
                assertTrue(answers.containsKey(key), key);
                assertEquals(10 + all, answers.get(key), 1e-9, key);
                assertEquals(all - 1, answers.get(key + "_apart"), 1e-9, key);
            }
        }
        assertEquals(before, Epilogues.used());
    }
}
