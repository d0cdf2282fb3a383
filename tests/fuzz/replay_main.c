/*
 * Runs a fuzz target over files instead of a fuzzer: every argument is a file, or a folder of
 * files.  For the corpus in make check, and for one crash in a debugger.
 */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned ran;

static void run_file(const char *path, size_t size)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p = malloc(size ? size : 1); /* of just this size, so that ASan sees its end */
	size_t n;

	if (!f || !p) {
		perror(path);
		exit(2);
	}
	n = fread(p, 1, size, f);
	fclose(f);
	LLVMFuzzerTestOneInput(p, n);
	free(p);
	ran++;
}

static void run_path(const char *path)
{
	char inside[PATH_MAX];
	struct dirent *e;
	struct stat st;
	DIR *d;

	if (stat(path, &st) < 0) {
		perror(path);
		exit(2);
	}
	if (!S_ISDIR(st.st_mode)) {
		run_file(path, (size_t)st.st_size);
		return;
	}
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(inside, sizeof(inside), "%s/%s", path, e->d_name);
		run_path(inside);
	}
	if (d)
		closedir(d);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	printf("%s: %u inputs\n", strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0],
	       ran);
	return ran ? 0 : 2; /* a corpus that is not there proves nothing */
}
