// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.merapi.Merapi;
import dev.merapi.io.AtomicFile;
import dev.merapi.train.Metrics;
import dev.merapi.train.RunDirectory;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** A run on one page, {@code report.html}, which needs nothing else to be shown: figures, plots, options and the machine. */
final class ReportPage {
    private static final String STYLE = """
            body { font: 16px/1.5 system-ui, sans-serif; color: #333a45; max-width: 960px; margin: 40px auto; padding: 0 20px }
            h1 { font-size: 26px } h2 { font-size: 19px; margin-top: 36px }
            img { width: 100%; max-width: 920px; display: block }
            table { border-collapse: collapse } td, th { padding: 4px 20px 4px 0; text-align: left; border-bottom: 1px solid #e6e9ee }
            td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
            pre { background: #f5f7fa; padding: 14px; overflow-x: auto; font-size: 14px }
            """;

    private ReportPage() {}

    static void write(RunDirectory run, String title, Metrics metrics, Map<String, byte[]> plots, String text)
            throws IOException {
        StringBuilder page = new StringBuilder("<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>")
                .append(escaped(run.path().getFileName() + ": " + title))
                .append("</title>\n<style>\n")
                .append(STYLE)
                .append("</style>\n<h1>")
                .append(escaped(title))
                .append("</h1>\n<p>")
                .append(escaped(run.path().toAbsolutePath().toString()))
                .append("</p>\n");
        figures(page, metrics);
        plots.forEach((name, png) -> page.append("<h2>")
                .append(escaped(name.replace('_', ' ')))
                .append("</h2>\n<img alt=\"")
                .append(escaped(name))
                .append("\" src=\"data:image/png;base64,")
                .append(Base64.getEncoder().encodeToString(png))
                .append("\">\n"));
        if (!text.isEmpty()) {
            page.append("<h2>what it wrote</h2>\n<pre>").append(escaped(text)).append("</pre>\n");
        }
        options(page, run);
        page.append("<h2>machine</h2>\n<pre>")
                .append(escaped(Merapi.describe()))
                .append("</pre>\n</html>\n");
        byte[] bytes = page.toString().getBytes(StandardCharsets.UTF_8);
        AtomicFile.write(run.file("report.html"), channel -> channel.write(ByteBuffer.wrap(bytes)));
    }

    private static void figures(StringBuilder page, Metrics metrics) {
        page.append("<h2>figures</h2>\n<table>\n<tr><th><th class=\"number\">last<th class=\"number\">lowest"
                + "<th class=\"number\">highest<th class=\"number\">values</tr>\n");
        for (String name : metrics.names()) {
            List<Double> values = metrics.series(name).values().stream()
                    .filter(v -> !v.isNaN())
                    .toList();
            if (!values.isEmpty()) {
                page.append("<tr><td>").append(escaped(name));
                for (double value :
                        new double[] {values.get(values.size() - 1), Collections.min(values), Collections.max(values)
                        }) {
                    page.append("<td class=\"number\">").append(String.format(Locale.ROOT, "%.4g", value));
                }
                page.append("<td class=\"number\">").append(values.size()).append("</tr>\n");
            }
        }
        page.append("</table>\n");
    }

    private static void options(StringBuilder page, RunDirectory run) throws IOException {
        JsonObject all = JsonParser.parseString(Files.readString(run.file(RunOptions.FILE)))
                .getAsJsonObject();
        page.append("<h2>options</h2>\n<table>\n");
        for (Map.Entry<String, JsonElement> option :
                all.getAsJsonObject("options").entrySet()) {
            page.append("<tr><td>")
                    .append(escaped(option.getKey()))
                    .append("<td>")
                    .append(escaped(option.getValue().getAsString()))
                    .append("</tr>\n");
        }
        page.append("</table>\n");
    }

    private static String escaped(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;");
    }
}
