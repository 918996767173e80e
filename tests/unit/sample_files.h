/* Files for tests: the shared sample data where there are any, and a folder of one's own for made ones. */
#ifndef TESTS_SAMPLE_FILES_H
#define TESTS_SAMPLE_FILES_H

#include <stddef.h>

/* The path of `name` in the sample data ($LAMINA_DATA, else ../shared/data); NULL, with a printed notice, if
 * it is not there. Valid until the next call. */
const char *sample_data(const char *name);

/* An empty folder that remove_folder takes away with all that is in it. The path is free()d there. */
char *make_folder(void);
void remove_folder(char *folder);

/* Writes folder/name, making folders on the way. Returns the path, valid until the next call. */
const char *write_file(const char *folder, const char *name, const void *data, size_t size);

#endif
