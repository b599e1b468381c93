package cache

import "testing"

// An entry may have up to Config.MaxValue bytes, so the number of entries that
// are read at once adapts to their size.
func TestPiece_ShrinksWithTheSizeOfEntries(t *testing.T) {
	t.Parallel()
	var n node
	for _, step := range []struct{ read, largest, next int }{
		{5, 100, 64}, {64, 100, 128}, {128, 100 << 10, 10}, {10, 40 << 20, 1}, {1, 40 << 20, 1}, {1, 10, 2}, {2, 0, 4},
		{4, 10, 8}, {8, 10, 16}, {16, 10, 32}, {32, 10, 64}, {64, 10, 128}, {128, 10, maxPiece}, {maxPiece, 10, maxPiece},
	} {
		if n.learnPiece(n.nextPiece(), step.read, step.largest); n.nextPiece() != step.next {
			t.Errorf("%d keys after %d of which the largest had %d bytes, want %d", n.nextPiece(), step.read, step.largest, step.next)
		}
	}
}
