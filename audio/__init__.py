"""From sound to numbers: files, features, chunks, effects and their pictures, all without torch."""
