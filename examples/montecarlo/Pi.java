import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Locale;
import java.util.SplittableRandom;

/** Estimates pi: one worker's share of the points, thrown at random into the unit square. */
public final class Pi {
    public static void main(String[] args) throws Exception {
        long points = args.length > 0 ? Long.parseLong(args[0]) : 10_000_000;
        int rank = Integer.parseInt(System.getenv("ZORILLA_RANK"));
        int size = Integer.parseInt(System.getenv("ZORILLA_SIZE"));

        // Every rank has numbers of its own, and the same ones in each run.
        SplittableRandom random = new SplittableRandom(rank);
        long mine = points / size + (rank < points % size ? 1 : 0);
        long inside = 0;
        for (long i = 0; i < mine; i++) {
            double x = random.nextDouble();
            double y = random.nextDouble();
            if (x * x + y * y < 1) {
                inside++;
            }
        }
        System.out.printf(Locale.ROOT, "worker %d of %d: pi is about %.4f%n", rank, size, 4.0 * inside / mine);
        Files.write(Paths.get("hits-" + rank + ".txt"), (inside + " " + mine + "\n").getBytes("US-ASCII"));
    }
}
