/* NVML for cards that are not there: as much of it as nvidia-ctk asks for when it writes a CDI
 * specification. How many there are says /srv/fake-cards.
 *
 * https://docs.nvidia.com/deploy/nvml-api/
 */
#include <stdio.h>
#include <string.h>

#define SUCCESS 0
#define NOT_SUPPORTED 3

typedef struct { void *handle; } device;
typedef struct {
	char legacy[16];
	unsigned int domain, bus, device, ids, subsystem;
	char id[32];
} pci;

static long number(device d) { return (long)d.handle - 1; }

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlInitWithFlags(unsigned int flags) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int result) { return "not supported"; }

int nvmlSystemGetDriverVersion(char *text, unsigned int length)
{
	snprintf(text, length, "%s", VERSION);
	return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned int *count)
{
	FILE *file = fopen("/srv/fake-cards", "r");

	*count = 0;
	if (file) {
		fscanf(file, "%u", count);
		fclose(file);
	}
	return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device *found)
{
	found->handle = (void *)(long)(index + 1);
	return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device *found)
{
	found->handle = (void *)(long)(uuid[strlen(uuid) - 1] - '0' + 1);
	return SUCCESS;
}

int nvmlDeviceGetUUID(device d, char *text, unsigned int length)
{
	snprintf(text, length, "GPU-00000000-0000-0000-0000-00000000000%ld", number(d));
	return SUCCESS;
}

int nvmlDeviceGetName(device d, char *text, unsigned int length)
{
	snprintf(text, length, "NVIDIA L40S");
	return SUCCESS;
}

int nvmlDeviceGetMinorNumber(device d, unsigned int *minor)
{
	*minor = number(d);
	return SUCCESS;
}

int nvmlDeviceGetPciInfo_v3(device d, pci *found)
{
	memset(found, 0, sizeof *found);
	found->bus = 0x19 + number(d);
	snprintf(found->id, sizeof found->id, "00000000:%02X:00.0", found->bus);
	return SUCCESS;
}

int nvmlDeviceGetMigMode(device d, unsigned int *now, unsigned int *later) { return NOT_SUPPORTED; }
