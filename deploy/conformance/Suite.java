import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

import org.junit.platform.engine.FilterResult;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.ClassNameFilter;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.PostDiscoveryFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs the tests of packages, configured by a file of properties: a line per test, and at last how many passed and failed.
 *
 * <p>Arguments: the file, the packages with commas between them, the longest time for everything in seconds, and a pattern that the names of tests must contain. Ends with 0 when
 * tests ran and all passed, else with 1.
 */
public final class Suite implements TestExecutionListener {

    private final PrintStream out;
    private final long limit;
    private long planned;
    private long passed;
    private long failed;
    private long skipped;
    private long started;
    private String running;

    private Suite(PrintStream out, long limit) {
        this.out = out;
        this.limit = limit;
    }

    public static void main(String[] arguments) throws Exception {
        var properties = new Properties();
        try (var reader = Files.newBufferedReader(Path.of(arguments[0]))) {
            properties.load(reader);
        }
        properties.forEach((key, value) -> System.setProperty((String) key, (String) value));
        var named = Pattern.compile(arguments[3]).asPredicate();
        var request = LauncherDiscoveryRequestBuilder.request()
                .selectors(Stream.of(arguments[1].split(",")).map(DiscoverySelectors::selectPackage).toList())
                .filters(ClassNameFilter.includeClassNamePatterns(".*Test"))
                .filters((PostDiscoveryFilter) test -> FilterResult.includedIf(!test.isTest() || named.test(test.getDisplayName())))
                .build();

        var out = System.out;
        // The suite talks on standard output too.
        System.setOut(new PrintStream(PrintStream.nullOutputStream()));
        var suite = new Suite(out, Long.parseLong(arguments[2]));
        suite.watch();
        LauncherFactory.create().execute(request, suite);
        suite.end(null);
    }

    /** Ends a run that takes too long. */
    private void watch() {
        var watch = new Thread(() -> {
            try {
                Thread.sleep(Duration.ofSeconds(limit).toMillis());
            } catch (InterruptedException interrupted) {
                return;
            }
            end("not finished within " + limit + " s");
        });
        watch.setDaemon(true);
        watch.start();
    }

    /** What was to be run and has no outcome has failed. */
    private synchronized void end(String reason) {
        if (reason != null) {
            out.println("FAIL " + running + " -- " + reason);
        }
        failed += Math.max(0, planned - passed - failed - skipped);
        if (skipped > 0) {
            out.println(skipped + " skipped by the suite itself");
        }
        out.println(passed + " passed, " + failed + " failed");
        out.flush();
        // Clients of the suite keep threads that wait for nothing.
        Runtime.getRuntime().halt(failed == 0 && passed > 0 ? 0 : 1);
    }

    @Override
    public synchronized void testPlanExecutionStarted(TestPlan plan) {
        planned = plan.countTestIdentifiers(TestIdentifier::isTest);
    }

    @Override
    public synchronized void executionSkipped(TestIdentifier test, String reason) {
        if (test.isTest()) {
            skipped++;
            out.println("SKIP " + test.getDisplayName() + " -- " + reason);
        }
    }

    @Override
    public synchronized void executionStarted(TestIdentifier test) {
        if (test.isTest()) {
            running = test.getDisplayName();
            started = System.nanoTime();
        }
    }

    @Override
    public synchronized void executionFinished(TestIdentifier test, TestExecutionResult result) {
        var successful = result.getStatus() == TestExecutionResult.Status.SUCCESSFUL;
        var took = Duration.ofNanos(System.nanoTime() - started).toMillis();
        if (test.isTest() && successful) {
            passed++;
            out.println("PASS " + test.getDisplayName() + " (" + took + " ms)");
        } else if (test.isTest()) {
            failed++;
            out.println("FAIL " + test.getDisplayName() + " (" + took + " ms) -- " + causes(result));
        } else if (!successful) {
            out.println("ERROR " + test.getDisplayName() + " -- " + causes(result));
        }
    }

    private static String causes(TestExecutionResult result) {
        var causes = Stream.iterate(result.getThrowable().orElse(null), cause -> cause != null, Throwable::getCause).limit(5);
        return causes.map(Throwable::toString).collect(Collectors.joining(", caused by ")).replaceAll("\\s+", " ");
    }
}
