//go:build !race

package mutex

const raceDetector = false
